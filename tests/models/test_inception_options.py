"""Inception-v3: freezing, recomputing, norms, gates, weights, and what is refused."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.batchnorm import _BatchNorm

from helpers.nets import image, loss_of, randomise, weightless
from inimg_mm.checkpoints import Pretrained
from inimg_mm.engine.sharding import wrap_residual_blocks
from inimg_mm.errors import CheckpointError
from inimg_mm.models.attention import SE, InnerImaging
from inimg_mm.models.backbones import Backbone, InceptionV3
from inimg_mm.models.backbones.inception_blocks import MixedBlock
from inimg_mm.registry import MODELS

MIXED = ('5b', '5c', '5d', '6a', '6b', '6c', '6d', '6e', '7a', '7b', '7c')
WIDTHS = (256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048)
SINGLE = dict(type='InnerImaging', streams=1, filters=((1, 1), (2, 1), (3, 3)), fold=16)
light = partial(weightless, InceptionV3)


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 3])
def test_freezing_survives_train(frozen_stages):
    starts = ('Conv2d_1', 'Conv2d_2', 'maxpool1', 'Conv2d_3', 'Conv2d_4', 'maxpool2', 'Mixed_5', 'Mixed_6')
    frozen = starts[: {-1: 0, 0: 2, 1: 5, 2: 7, 3: 8}[frozen_stages]]
    net = light(out_indices=(2,), frozen_stages=frozen_stages, attention=dict(type='SE'))
    for _ in range(2):
        for key, parameter in net.named_parameters():
            assert parameter.requires_grad != key.startswith(frozen), key
        net.requires_grad_(True)
        assert net.train() is net
        for key, module in net.named_modules():
            assert module.training != (bool(key) and key.startswith(frozen)), key


def test_norm_eval():
    net = light(norm_eval=True, attention=SINGLE).train()
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    assert len(norms) == 94 + 11 * 3
    assert not any(norm.training for norm in norms)
    assert all(module.training for module in net.modules() if not isinstance(module, _BatchNorm))


def test_recomputing_changes_neither_gradients_nor_statistics():
    def step(with_cp):
        net = InceptionV3(out_indices=(2,), with_cp=with_cp, attention=SINGLE).double().train()
        randomise(net)
        calls = []
        net.Mixed_6c.branch1x1.register_forward_hook(lambda *args: calls.append(1))
        loss_of(net(image(59, 43, dtype=torch.float64))).backward()
        return net, len(calls)

    (plain, once), (recomputed, twice) = step(False), step(True)
    assert (once, twice) == (1, 2)
    for (key, p), (_, q) in zip(plain.named_parameters(), recomputed.named_parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-12, msg=key)
    for (key, p), (_, q) in zip(plain.named_buffers(), recomputed.named_buffers(), strict=True):
        assert torch.equal(p, q), key


@pytest.mark.parametrize(('spec', 'kind'), [(dict(type='SE'), SE), (SINGLE, InnerImaging)], ids=['SE', 'InI'])
def test_gates_follow_all_eleven_mixed_blocks(spec, kind):
    net = light(attention=spec)
    gates = {name: module for name, module in net.named_modules() if isinstance(module, kind)}
    assert list(gates) == [f'Mixed_{name}.{kind.attribute}' for name in MIXED]
    for gate, width in zip(gates.values(), WIDTHS, strict=True):
        layer = gate.last_layer
        assert (layer.weight.shape[0], layer.weight.shape[1]) == (width, width // 16)
        if kind is InnerImaging:  # a quarter of the width is the block's base width
            assert {bank.conv.out_channels for bank in gate.filters} == {width // 4 // 16}
    plain = {name: value.shape for name, value in light().state_dict().items()}
    gated = {name: value.shape for name, value in net.state_dict().items() if kind.attribute not in name}
    assert gated == plain


def test_a_gate_weighs_the_concatenation():
    gated = InceptionV3(out_indices=(1,), attention=dict(type='SE')).double().eval()
    randomise(gated)
    plain = InceptionV3(out_indices=(1,)).double().eval()
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if '.se_layer.' not in k}, strict=True)
    x = image(43, 51, dtype=torch.float64)
    with torch.no_grad():
        expected = plain.maxpool2(plain.Conv2d_4a_3x3(plain.Conv2d_3b_1x1(plain.maxpool1(plain.stem(x)))))
        for name in ('Mixed_5b', 'Mixed_5c', 'Mixed_5d'):
            expected = plain.get_submodule(name)(expected)
            gate = gated.get_submodule(name).se_layer
            hidden = torch.relu(gate.conv1.conv(expected.mean((2, 3), keepdim=True)))
            expected = expected * torch.sigmoid(gate.conv2.conv(hidden))
        torch.testing.assert_close(gated(x)[0], expected, rtol=0, atol=1e-12)


def test_gates_of_some_stages():
    net = light(attention=dict(type='SE', stages=(False, False, True, False)))
    gated = [name for name, module in net.named_children() if hasattr(module, 'se_layer')]
    assert gated == [f'Mixed_{name}' for name in MIXED if name.startswith('6')]


@pytest.mark.parametrize(('norm_cfg', 'eps'), [
    (None, 1e-3), (dict(type='BN', requires_grad=True), 1e-3), (dict(type='SyncBN'), 1e-3),
    (dict(type='BN', eps=1e-5), 1e-5),
])  # fmt: skip
def test_eps_of_the_norms(norm_cfg, eps):
    given = copy.deepcopy(norm_cfg)
    net = light(out_indices=(1,), norm_cfg=norm_cfg)
    assert {module.eps for module in net.modules() if isinstance(module, _BatchNorm)} == {eps}
    assert norm_cfg == given


def test_other_convolutions():
    """SCConv takes the place of each 3x3 that keeps or halves the map; 1x7 and 7x1 stay."""
    net = light(padding='same', conv_cfg=dict(type='inimg_mm.SCConv'))
    assert type(net.Mixed_5b.branch3x3dbl_2.conv).__name__ == 'SCConv2d'
    assert type(net.Mixed_6b.branch7x7_2.conv) is nn.Conv2d
    with FakeTensorMode():
        net = InceptionV3(padding='same', out_indices=(1,), conv_cfg=dict(type='inimg_mm.SCConv'))
        assert net(torch.empty(1, 3, 64, 64))[0].shape == (1, 288, 8, 8)


def test_init_weights():
    net = InceptionV3(out_indices=(1,), attention=dict(type='SE'))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(7)
    net.init_weights()
    for key, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and '.se_layer.' not in key and module.weight.numel() > 5000:
            assert module.weight.std().item() == pytest.approx(0.1, rel=0.1), key
        elif isinstance(module, _BatchNorm):
            assert torch.all(module.weight == 1), key
            assert torch.all(module.bias == 0), key
        elif isinstance(module, nn.Conv2d):
            assert not torch.any(module.weight == 7), key


def test_layers_for_layer_wise_decay():
    net = light()
    layers = ['Conv2d_3b_1x1', 'Conv2d_4a_3x3', *(f'Mixed_{name}' for name in MIXED)]
    for key, _ in net.named_parameters():
        part = key.split('.')[0]
        expected = 1 + layers.index(part) if part in layers else 0
        assert net.get_layer_depth(f'backbone.{key}', 'backbone.') == (expected, 15)
    assert net.get_layer_depth('head.fc.weight', 'backbone.') == (14, 15)
    assert light(out_indices=(1,)).get_layer_depth('Mixed_5d.branch1x1.conv.weight') == (5, 7)


def test_a_mixed_block_is_a_unit_of_sharding():
    net = light(attention=dict(type='SE'))
    units = [name for name, module in net.named_modules() if wrap_residual_blocks(module, False, 0)]
    assert units == [f'Mixed_{name}' for name in MIXED]


def test_is_registered():
    net = MODELS.build(dict(type='inimg_mm.InceptionV3', out_indices=(0,)))
    assert isinstance(net, Backbone)
    assert isinstance(light(out_indices=(1,)).Mixed_5b, MixedBlock)


REFUSED = {
    'padding': (dict(padding='full'), r"padding must be one of \['valid', 'same'\], got 'full'"),
    'stem': (dict(stem='5x5'), r"stem must be one of \['3x3', '7x7'\], got '5x5'"),
    'in_channels': (dict(in_channels=0), 'in_channels must be an integer of at least 1, got 0'),
    'out_indices': (dict(out_indices=(4,)), r'out_indices must be among \(0, 1, 2, 3\)'),
    'frozen_stages': (dict(frozen_stages=5), 'frozen_stages must be from -1 to 4, got 5'),
    'norm_cfg': (dict(norm_cfg='BN'), 'norm_cfg must be a config'),
    'conv_cfg': (dict(conv_cfg=dict(type='Nope')), "conv_cfg has the unknown type 'Nope'"),
    'dcn': (dict(dcn=dict(type='DCNv2')), 'InceptionV3 has no deformable form, dcn=None'),
    'plugins': (dict(plugins=[]), 'takes no plugins; gates are given as attention'),
    'depth': (dict(depth=50), r"InceptionV3 has no argument 'depth'; choose from .*'padding'.*'stem'"),
    'two streams': (
        dict(attention=dict(type='InnerImaging')),
        "'InnerImaging' compares the residual with the shortcut, and here there is no shortcut.*streams=1",
    ),
    'competitive': (
        dict(attention=dict(type='CMPESE')),
        "'CMPESE' compares .*no shortcut; gates that fit: type='SE'",
    ),
    'double FC': (dict(attention=dict(type='CMPESE', view='double_fc')), 'no shortcut'),
    'stages': (dict(attention=dict(type='SE', stages=(True,))), 'attention stages .*each of 4 stages'),
    'first stage': (
        dict(attention=dict(type='SE', stages=(True, False, True, True))),
        r'first stage has no mixed block to gate; write stages=\(False, False, True, True\)',
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused(case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        light(**options)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """The plain net's weights, alone and with torchvision's classifiers."""
    folder = tmp_path_factory.mktemp('weights')
    state = randomise(InceptionV3()).state_dict()
    torch.save(state, folder / 'backbone.pth')
    classifiers = {
        'fc.weight': torch.zeros(3, 2048),
        'AuxLogits.conv0.conv.weight': torch.zeros(128, 768, 1, 1),
    }
    torch.save({**state, **classifiers}, folder / 'torchvision.pth')
    return folder


def test_pretrained_reads_torchvisions_file(files):
    init_cfg = dict(type='Pretrained', checkpoint=str(files / 'torchvision.pth'))
    net = InceptionV3(padding='same', out_indices=(1, 2), init_cfg=init_cfg)
    assert net.init_cfg['type'] == 'inimg_mm.Pretrained'
    net.init_weights()
    state = torch.load(files / 'torchvision.pth')
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_a_warm_start_is_refused(files):
    net = InceptionV3(attention=dict(type='SE'))
    file = str(files / 'backbone.pth')
    refusal = 'there is no warm start for InceptionV3: its gates would halve what comes out of max pools'
    with pytest.raises(CheckpointError, match=f'^{refusal}.*leave warm_start out$'):
        Pretrained(file, warm_start=True)(net)
    with pytest.raises(CheckpointError, match=f"a plain net's weights and this net has gates, and {refusal}"):
        Pretrained(file)(net)
