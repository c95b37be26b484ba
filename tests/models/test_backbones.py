"""The contract of a backbone, over every model of the zoo at tiny width."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from helpers.nets import (
    ALL_MODELS,
    CIFAR,
    RESIDUAL,
    RESNETS,
    assert_declared_shapes,
    convolutions_3x3,
    dilations_of,
    image,
    loss_of,
    randomise,
    tiny,
)
from inimg_mm import zoo
from inimg_mm.models.backbones import Backbone
from inimg_mm.registry import MODELS

OUT_INDICES = ['all', 'last', (1, 2), (0,)]


@pytest.fixture(params=RESNETS)
def name(request):
    return request.param


@pytest.fixture(params=RESIDUAL)
def any_name(request):
    """Inception-v3 aside, whose one width takes too long to be built for every test."""
    return request.param


@pytest.fixture(scope='session', params=ALL_MODELS)
def shared_net(request):
    """A net with random weights and statistics in eval mode; to be left so."""
    return randomise(tiny(request.param)).eval()


def buffers_of(net):
    return {
        name: buffer.clone()
        for name, buffer in net.named_buffers()
        if not name.endswith('num_batches_tracked')
    }


@pytest.mark.parametrize('out_indices', OUT_INDICES, ids=str)
def test_declared_shapes_and_a_gradient_for_every_parameter(any_name, out_indices):
    stages, first = (3, 1) if any_name in CIFAR else (4, 4)
    asked = {'all': tuple(range(stages)), 'last': (stages - 1,)}.get(out_indices, out_indices)
    net = tiny(any_name, out_indices=asked)
    assert len(net.out_channels) == len(net.out_strides) == len(asked)
    assert net.out_strides == tuple(first * 2**index for index in asked)
    maps = assert_declared_shapes(net, image(64, 48))
    loss_of(maps).backward()
    without = [key for key, parameter in net.named_parameters() if parameter.grad is None]
    assert not without
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize('size', [(32, 32), (33, 65), (225, 225), (97, 32), (1, 64), (1, 33)], ids=str)
def test_small_and_odd_images(shared_net, size):
    with torch.no_grad():
        assert_declared_shapes(shared_net, image(*size, batch=1))


def test_one_pixel_maps_can_be_trained(any_name):
    net = tiny(any_name)
    loss_of(assert_declared_shapes(net, image(1, 32))).backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_bf16_autocast_and_channels_last(any_name):
    net = tiny(any_name).to(memory_format=torch.channels_last)
    x = image(64, 64, memory_format=torch.channels_last)
    with torch.autocast('cpu', torch.bfloat16):
        maps = assert_declared_shapes(net, x)
    loss_of(maps).backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_channels_last_changes_nothing(shared_net):
    net = copy.deepcopy(shared_net).double()
    x = image(64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = net(x)
        maps = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    for actual, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(actual, wanted)


@pytest.mark.parametrize('frozen_stages', [0, 1, 3, 4])
def test_freezing_survives_train(name, frozen_stages):
    net = tiny(name, frozen_stages=frozen_stages)
    frozen = ('conv1', 'bn1', *(f'layer{stage}' for stage in range(1, frozen_stages + 1)))

    def is_frozen(key):
        return key.split('.')[0] in frozen

    for _ in range(2):
        net.eval()
        net.train()
        before = buffers_of(net)
        assert {is_frozen(key) for key, p in net.named_parameters() if not p.requires_grad} == {True}
        assert not any(is_frozen(key) for key, p in net.named_parameters() if p.requires_grad)
        assert not any(is_frozen(key) for key, module in net.named_modules() if module.training)
        maps = net(image(32, 32))
        after = buffers_of(net)
        assert {key for key in after if torch.equal(before[key], after[key])} == {
            k for k in after if is_frozen(k)
        }
        net.requires_grad_(True)
    assert maps[-1].requires_grad == (frozen_stages < 4)


def test_frozen_as_built(name):
    # data-parallel wrappers and optimisers look at the net before its first train()
    net = tiny(name, frozen_stages=1)
    trained = {key.split('.')[0] for key, p in net.named_parameters() if p.requires_grad}
    assert trained == {'layer2', 'layer3', 'layer4'}
    assert not net.layer1.training


def test_nothing_is_frozen_by_default(any_name):
    net = tiny(any_name).train()
    assert all(p.requires_grad for p in net.parameters())
    assert all(module.training for module in net.modules())


def test_norm_eval(any_name):
    net = tiny(any_name, norm_eval=True).train()
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert all(module.training for module in net.modules() if not isinstance(module, _BatchNorm))
    assert all(parameter.requires_grad for parameter in net.parameters())
    before = buffers_of(net)
    loss_of(net(image(32, 32))).backward()
    assert all(torch.equal(before[key], value) for key, value in buffers_of(net).items())
    assert all(norm.weight.grad is not None for norm in norms if norm.affine)


def test_train_and_eval_return_the_net(any_name):
    net = tiny(any_name, norm_eval=True, frozen_stages=1)
    assert net.train() is net
    assert net.training
    assert net.eval() is net
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize('options', [{}, dict(drop_path_rate=0.5)], ids=str)
def test_checkpointing_changes_neither_gradients_nor_statistics(name, options):
    def step(with_cp):
        net = randomise(tiny(name, with_cp=with_cp, **options).double()).train()
        calls = []
        convolutions_3x3(net.layer3[0])[0].register_forward_hook(lambda *args: calls.append(1))
        torch.manual_seed(3)
        maps = net(image(64, 64, batch=2, dtype=torch.float64))
        sum(m.square().mean() for m in maps).backward()
        return net, len(calls)

    plain, once = step(with_cp=False)
    checkpointed, twice = step(with_cp=True)
    assert (once, twice) == (1, 2)
    for (key, p), (_, q) in zip(plain.named_parameters(), checkpointed.named_parameters(), strict=True):
        assert torch.equal(p.grad, q.grad), key
    for (key, p), (_, q) in zip(plain.named_buffers(), checkpointed.named_buffers(), strict=True):
        assert torch.equal(p, q), key
    assert all(
        module.track_running_stats for module in checkpointed.modules() if isinstance(module, _BatchNorm)
    )


@pytest.mark.parametrize(
    ('strides', 'dilations', 'out_strides'),
    [((1, 2, 1, 1), (1, 1, 2, 4), (4, 8, 8, 8)), ((1, 2, 2, 1), (1, 1, 1, 2), (4, 8, 16, 16))],
    ids=['stride 8', 'stride 16'],
)
@pytest.mark.parametrize('contract_dilation', [False, True], ids=['', 'contract'])
def test_dilation_keeps_the_resolution(name, strides, dilations, out_strides, contract_dilation):
    net = tiny(name, strides=strides, dilations=dilations, contract_dilation=contract_dilation).eval()
    assert net.out_strides == out_strides
    with torch.no_grad():
        assert_declared_shapes(net, image(65, 47))
    for stage, dilation in enumerate(dilations):
        first = max(dilation // 2, 1) if contract_dilation else dilation
        blocks = net.get_submodule(f'layer{stage + 1}')
        assert dilations_of(blocks) == [first] + [dilation] * (len(blocks) - 1)


def test_state_dict_round_trip(any_name):
    net, file = randomise(tiny(any_name)).eval(), io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    again = tiny(any_name).eval()
    again.load_state_dict(torch.load(file), strict=True)
    with torch.no_grad():
        for a, b in zip(net(image(33, 33)), again(image(33, 33)), strict=True):
            assert torch.equal(a, b)


def test_building_leaves_the_config_as_it_was(name):
    attention = copy.deepcopy(zoo.get(name).config.get('attention')) or dict(type='SE')
    config = dict(
        copy.deepcopy(zoo.get(name).config),
        base_channels=32,
        norm_cfg=dict(type='BN', requires_grad=True),
        conv_cfg=dict(type='Conv2d'),
        attention=dict(attention, stages=[True, False, True, True]),
        strides=[1, 2, 2, 1],
        dilations=[1, 1, 1, 2],
        out_indices=[1, 3],
        init_cfg=[dict(type='Kaiming', layer=['Conv2d'])],
    )
    before, in_zoo = copy.deepcopy(config), copy.deepcopy(zoo.get(name).config)
    MODELS.build(config).init_weights()
    assert config == before
    tiny(name)
    assert zoo.get(name).config == in_zoo


@pytest.mark.parametrize('zero_init_residual', [True, False])
def test_init_weights_starts_the_last_norm_of_each_block(name, zero_init_residual):
    net = randomise(tiny(name, zero_init_residual=zero_init_residual))
    net.init_weights()
    last = 'bn3' if hasattr(net.layer1[0], 'bn3') else 'bn2'
    for key, module in net.named_modules():
        if isinstance(module, _BatchNorm):
            expected = 0.0 if zero_init_residual and key.endswith(f'.{last}') else 1.0
            assert torch.all(module.weight == expected), key
        elif isinstance(module, nn.Conv2d | nn.Linear):
            assert module.weight.abs().sum() > 0, key
    assert not any(p.grad_fn for p in net.parameters())


def test_layer_depth_rises_with_the_blocks(any_name):
    net = tiny(any_name)
    depths = {key: net.get_layer_depth(f'backbone.{key}', 'backbone.') for key, _ in net.named_parameters()}
    num_layers = 2 + sum(len(net.get_submodule(stage)) for stage in net.stage_names)
    assert {total for _, total in depths.values()} == {num_layers}
    layers = [layer for key, (layer, _) in depths.items() if not key.startswith('norm.')]
    assert layers == sorted(layers)
    assert sorted(set(layers)) == list(range(num_layers - 1))
    assert depths['conv1.weight' if 'conv1.weight' in depths else 'conv1.0.weight'][0] == 0
    assert net.get_layer_depth('head.fc.weight', 'backbone.') == (num_layers - 1, num_layers)


def test_is_a_backbone_of_the_registry(shared_net):
    assert isinstance(shared_net, Backbone)
    known = {model.config['type'] for model in zoo.MODELS.values()}
    assert f'inimg_mm.{type(shared_net).__name__}' in known
