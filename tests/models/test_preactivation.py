"""Pre-activation, wide and pyramidal networks: the contract of a backbone, and what is theirs alone."""

import math

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn

from helpers.nets import image, randomise
from inimg_mm.checkpoints import Pretrained
from inimg_mm.models.backbones.preact_blocks import NormConvBlock
from inimg_mm.models.backbones.shake_drop import ShakeDrop
from inimg_mm.registry import MODELS
from inimg_mm.zoo.tables import GATE_SPECS

SMALL = dict(base_channels=16, stem_channels=16)
NETS = {
    'pre-activation, basic blocks': dict(type='PreActResNet', depth=14),
    'pre-activation, bottlenecks': dict(type='PreActResNet', depth=11, input_norm=True),
    'pre-activation, without a last norm': dict(
        type='PreActResNet', depth=8, stem_norm=True, stem_relu=True, final_norm=False
    ),
    'pre-activation, ImageNet': dict(type='PreActResNet', depth=50, **SMALL),
    'wide': dict(type='WideResNet', depth=10, widen_factor=2),
    'pyramid, basic blocks': dict(type='PyramidNet', depth=14, alpha=10),
    'pyramid, bottlenecks': dict(type='PyramidNet', depth=11, alpha=10),
    'pyramid, ImageNet': dict(type='PyramidNet', depth=18, alpha=20, **SMALL),
}
SPECS = {'none': None, **GATE_SPECS}


def build(name, **options):
    config = {**NETS.get(name, {}), **options}
    return MODELS.build(dict(config, type=f'inimg_mm.{config["type"]}'))


def blocks_of(net):
    return [module for module in net.modules() if isinstance(module, NormConvBlock)]


def size_of(net):
    return 64 if len(net.depths) == 4 else 16


@pytest.fixture(params=NETS)
def name(request):
    return request.param


@pytest.mark.parametrize(
    'asked', [slice(None), slice(1), slice(1, 2), slice(-1, None), slice(1, None)], ids=str
)
def test_declared_shapes_and_a_gradient_for_every_parameter(name, asked):
    stages = range(len(build(name).depths))
    out_indices = stages[asked]
    net = build(name, out_indices=out_indices, attention=GATE_SPECS['CMPE-SE 1x1 pair view'])
    x = image(size_of(net), size_of(net) - 1)
    maps = net(x)
    stride = 4 if len(stages) == 4 else 1
    assert net.out_strides == tuple(stride * 2**index for index in out_indices)
    for m, channels, stride in zip(maps, net.out_channels, net.out_strides, strict=True):
        assert m.shape == (2, channels, *(math.ceil(size / stride) for size in x.shape[2:]))
    sum(m.square().mean() for m in maps).backward()
    assert not [key for key, parameter in net.named_parameters() if parameter.grad is None]
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_maps_are_the_same_whichever_are_asked_for(name):
    whole = randomise(build(name)).eval()
    state, x = whole.state_dict(), image(size_of(whole), size_of(whole))
    with torch.no_grad():
        expected = whole(x)
        for index in range(len(expected)):
            net = build(name, out_indices=(index,)).eval()
            net.load_state_dict({key: state[key] for key in net.state_dict()}, strict=True)
            assert torch.equal(net(x)[0], expected[index])


def test_an_earlier_map_is_what_the_next_stage_reads(name):
    net, read = randomise(build(name)).train(), []
    for stage in net.stage_names[1:]:
        first = net.get_submodule(stage)[0].conv1
        first.register_forward_hook(lambda module, args, out: read.append(args[0]))
    maps = net(image(size_of(net), size_of(net)))
    assert all(torch.equal(m, r) for m, r in zip(maps[:-1], read, strict=True))
    if not name.startswith('pyramid'):  # whose blocks begin with a norm alone
        assert all(m.min() == 0 for m in maps[:-1])
    assert (maps[-1].min() == 0) == net.has_final_norm
    counters = {int(v) for key, v in net.state_dict().items() if key.endswith('num_batches_tracked')}
    assert counters == {1}


@pytest.mark.parametrize('gate', SPECS)
def test_every_gate_sees_the_residual_and_the_shortcut_that_are_added(name, gate):
    net = randomise(build(name, attention=SPECS[gate])).double().eval()
    for block in blocks_of(net):
        x = torch.randn(2, block.norm(1).num_features, 6, 6, dtype=torch.float64)
        shortcut, residual = block.paths(x)
        weight = block.gate_module(residual, shortcut) if block.gate_module else 1
        torch.testing.assert_close(block(x), shortcut + weight * residual, rtol=0, atol=1e-12)
        if block.downsample is None:
            assert torch.equal(shortcut, x)
        if isinstance(block.last_affine, nn.Conv2d):
            assert type(net).__name__ != 'PyramidNet'
        else:
            width = x.shape[1]
            assert torch.all(shortcut[:, width:] == 0)


@pytest.mark.parametrize('frozen_stages', [0, 1, 2, 'all'])
def test_freezing(name, frozen_stages):
    stages = len(build(name).depths)
    frozen_stages = stages if frozen_stages == 'all' else frozen_stages
    net = build(name, frozen_stages=frozen_stages, attention=GATE_SPECS['SE'])
    frozen = {'input_norm', 'conv1', 'bn1', *(f'layer{stage + 1}' for stage in range(frozen_stages))}
    if frozen_stages == stages:
        frozen.add('norm')
    net.train()
    assert {key for key, p in net.named_parameters() if not p.requires_grad} == {
        key for key, p in net.named_parameters() if key.split('.')[0] in frozen
    }
    assert not [key for key, m in net.named_modules() if m.training and key.split('.')[0] in frozen]
    assert net(image(16, 16))[-1].requires_grad == (frozen_stages < stages)


NOISE = {
    'PreActResNet': [{}, dict(drop_path_rate=0.5)],
    'WideResNet': [dict(dropout=0.5)],
    'PyramidNet': [dict(shake_drop=0.5)],
}
NOISY = [(name, options) for name, config in NETS.items() for options in NOISE[config['type']]]


@pytest.mark.parametrize(('name', 'options'), NOISY, ids=str)
def test_recomputing_changes_neither_gradients_nor_statistics(name, options):
    def step(with_cp):
        net = randomise(
            build(name, with_cp=with_cp, attention=GATE_SPECS['CMPE-SE 1x1 pair view'], **options)
        ).train()
        torch.manual_seed(3)
        maps = net.double()(image(size_of(net), size_of(net), batch=4, dtype=torch.float64))
        sum(m.square().mean() for m in maps).backward()
        return net

    plain, recomputed = step(with_cp=False), step(with_cp=True)
    for (key, p), (_, q) in zip(plain.named_parameters(), recomputed.named_parameters(), strict=True):
        assert torch.equal(p.grad, q.grad), key
    for (key, p), (_, q) in zip(plain.named_buffers(), recomputed.named_buffers(), strict=True):
        assert torch.equal(p, q), key


def test_layer_depth_rises_with_the_blocks(name):
    net = build(name)
    depths = [net.get_layer_depth(f'backbone.{key}', 'backbone.') for key, _ in net.named_parameters()]
    layers = [layer for layer, _ in depths]
    assert {total for _, total in depths} == {2 + sum(net.depths)}
    assert layers == sorted(layers)
    assert sorted(set(layers)) == list(range(1 + sum(net.depths)))
    early = build(name, out_indices=(0,))
    assert early.get_layer_depth('layer2.0.bn1.weight') == (early.depths[0], early.depths[0] + 2)
    assert net.get_layer_depth('norm.weight', 'backbone.') == (1 + sum(net.depths), 2 + sum(net.depths))


@pytest.mark.parametrize('gate', GATE_SPECS)
def test_a_warm_start_computes_what_the_plain_net_does(tmp_path, name, gate):
    plain = randomise(build(name)).double()
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    net = randomise(build(name, attention=GATE_SPECS[gate]), seed=1).double()
    Pretrained(str(tmp_path / 'plain.pth'), warm_start=True)(net)
    x = image(size_of(net), size_of(net), dtype=torch.float64)
    with torch.no_grad():
        for training in (False, True, False):
            for actual, expected in zip(net.train(training)(x), plain.train(training)(x), strict=True):
                assert torch.equal(actual, expected)


@pytest.mark.parametrize('zero_init_residual', [True, False])
def test_blocks_can_start_as_identities(name, zero_init_residual):
    net = build(name, zero_init_residual=zero_init_residual)
    net.init_weights()
    assert {bool(torch.all(b.last_affine.weight == 0)) for b in blocks_of(net)} == {zero_init_residual}
    assert not build(name).train().layer1[0].init_cfg


def test_drop_path_rises_with_the_blocks(name):
    net = build(name, drop_path_rate=0.3)
    rates = [getattr(block.drop_path, 'drop_prob', 0) for block in blocks_of(net)]
    assert rates == pytest.approx([0.3 * index / (len(rates) - 1) for index in range(len(rates))])
    assert isinstance(blocks_of(net)[-1].drop_path, DropPath)


def test_an_input_norm_learns_nothing_and_standardises():
    net = build('pre-activation, bottlenecks').train()
    assert not list(net.input_norm.parameters())
    out = net.input_norm(3 + 2 * image(32, 32))
    assert out.mean((0, 2, 3)).abs().max() < 1e-5
    assert (out.var((0, 2, 3), unbiased=False) - 1).abs().max() < 1e-4
    assert 'input_norm.running_mean' in net.state_dict()


def test_dropout_stands_before_the_second_convolution():
    block = build('wide', dropout=0.4).layer1[0]
    read = []
    block.conv2.register_forward_hook(lambda module, args, out: read.append(args[0]))
    block.train()(torch.randn(8, 16, 8, 8))
    dropped = (read[0] == 0).float().mean()
    assert dropped.item() == pytest.approx(0.5 + 0.5 * 0.4, abs=0.03)  # half are zeros of the ReLU


def test_shake_drop():
    layer = ShakeDrop(0.5)
    x = torch.ones(1000, 2, 1, 1, requires_grad=True)
    assert torch.equal(layer.eval()(x), 0.5 * x)
    shaken = 0
    for _ in range(40):
        out = layer.train()(x)
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert torch.equal(out[:, 0], out[:, 1])
        if torch.all(out == 1):
            assert torch.all(gradient == 1)
            continue
        shaken += 1
        assert (out.min() < -0.9, out.max() > 0.9, out.max() <= 1) == (True, True, True)
        assert (gradient.min() >= 0, gradient.max() <= 1, gradient.std() > 0.2) == (True, True, True)
        assert abs(out.mean()) < 0.1
    assert 10 <= shaken <= 30


def test_shake_drop_rises_with_the_blocks():
    net = build('pyramid, basic blocks', shake_drop=0.6)
    rates = [block.drop_path.rate for block in blocks_of(net)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


FOLDED = dict(type='CMPESE', view='folded_3x3')


@pytest.mark.parametrize(
    ('config', 'images'),
    [
        (dict(type='WideResNet', depth=10, widen_factor=10), ['20x16', '20x32', '20x64']),
        (dict(type='WideResNet', depth=10, widen_factor=4), ['8x16', '8x32', '8x64']),
        (dict(type='WideResNet', depth=10, widen_factor=1), ['4x8', '4x16', '4x32']),
        (dict(type='PreActResNet', depth=11), ['8x16', '16x16', '32x16']),
        (dict(type='PyramidNet', depth=8, alpha=48), ['4x16', '6x16', '8x16']),
        (dict(type='PyramidNet', depth=8, alpha=50), ['6x16', '8x16', '10x16']),
    ],
    ids=str,
)
@pytest.mark.parametrize('spec', [FOLDED, dict(type='InnerImaging')], ids=lambda spec: spec['type'])
def test_how_images_are_folded(config, images, spec):
    net = build('', **config, attention=spec)
    assert [net.get_submodule(stage)[0].gate.image.shape for stage in net.stage_names] == [
        tuple(int(side) for side in shape.split('x')) for shape in images
    ]


def test_a_fold_of_the_spec_holds():
    wide = build('wide', attention=dict(FOLDED, fold=8))
    assert wide.layer1[0].gate.image.width == 8
    image = build('pyramid, basic blocks', attention=dict(FOLDED, fold=8)).layer3[1].gate.image
    assert (image.channels, image.rows, image.width) == (26, 4, 8)
