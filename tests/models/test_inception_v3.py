"""Inception-v3: parity with torchvision's, sizes of maps, options, gates, and what is refused."""

import copy
import math

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.batchnorm import _BatchNorm

from helpers.nets import INCEPTION_STAGES, assert_declared_shapes, features, image, loss_of, randomise
from inimg_mm.checkpoints import Pretrained
from inimg_mm.engine.sharding import wrap_residual_blocks
from inimg_mm.errors import CheckpointError
from inimg_mm.models.attention import SE, InnerImaging
from inimg_mm.models.backbones import Backbone, InceptionV3
from inimg_mm.models.backbones.inception_blocks import MixedBlock
from inimg_mm.models.backbones.inception_v3 import SMALLEST_IMAGE
from inimg_mm.registry import MODELS

CHANNELS = (192, 288, 768, 2048)
MIXED = ('5b', '5c', '5d', '6a', '6b', '6c', '6d', '6e', '7a', '7b', '7c')
WIDTHS = (256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048)
SINGLE = dict(type='InnerImaging', streams=1, filters=((1, 1), (2, 1), (3, 3)), fold=16)


@pytest.fixture(scope='module')
def peer():
    """torchvision's net with random weights and statistics, in float64, without classifiers."""
    models = pytest.importorskip('torchvision').models
    net = randomise(models.inception_v3(init_weights=False)).double().eval()
    net.aux_logits, net.AuxLogits, net.fc = False, None, nn.Identity()
    return net


@pytest.fixture(scope='module')
def net(peer):
    """Ours with the same weights, padding as torchvision does, in eval mode; to be left so."""
    net = InceptionV3().double().eval()
    net.load_state_dict(peer.state_dict(), strict=True)
    return net


@pytest.fixture(scope='module')
def same(net):
    """The net for dense prediction, with the same weights."""
    same = InceptionV3(padding='same').double().eval()
    same.load_state_dict(net.state_dict(), strict=True)
    return same


def light(**options):
    """A net of shapes alone."""
    with torch.device('meta'):
        return InceptionV3(**options)


def sides(net, height, width):
    """Channels, heights and widths of the maps of an image; nothing is computed."""
    with torch.no_grad():
        return [tuple(m.shape[1:]) for m in net.eval()(torch.empty(1, 3, height, width, device='meta'))]


def test_the_maps_are_torchvisions(peer, net):
    peer, net, differences = copy.deepcopy(peer), copy.deepcopy(net), []  # their statistics change
    x = image(107, 90, dtype=torch.float64)
    for training in (False, True):
        with torch.no_grad():
            maps = net.train(training)(x)
        expected = features(peer.train(training), x)
        assert all(0.01 < m.std() < 1e3 for m in maps)
        differences += [(m - e).abs().max().item() for m, e in zip(maps, expected, strict=True)]
    state = net.state_dict()
    for key, value in peer.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=1e-9, msg=key)
    print(f'torchvision inception_v3: max difference {max(differences):.1e} in eval and train mode')
    assert max(differences) < 1e-9


def test_grids_of_299_pixels():
    net, grids = light(), []
    grid_ends = (
        'Conv2d_1a_3x3',
        'Conv2d_2a_3x3',
        'Conv2d_2b_3x3',
        'maxpool1',
        'Conv2d_3b_1x1',
        *INCEPTION_STAGES,
    )
    for name in grid_ends:
        net.get_submodule(name).register_forward_hook(lambda module, args, out: grids.append(out.shape[2]))
    maps = sides(net, 299, 299)
    assert grids == [149, 147, 147, 73, 73, 71, 35, 17, 8]
    assert maps == [(width, side, side) for width, side in zip(CHANNELS, (71, 35, 17, 8), strict=True)]


@pytest.mark.parametrize('size', [(64, 96), (320, 416), (299, 299), (65, 33), (1, 33), (31, 2)], ids=str)
@pytest.mark.parametrize('stem', ['3x3', '7x7'])
def test_same_padding_keeps_fractions_of_the_image(stem, size):
    net = light(padding='same', stem=stem)
    assert net.out_strides == (4, 8, 16, 32)
    assert net.out_channels == CHANNELS
    expected = [
        (channels, *(math.ceil(side / stride) for side in size))
        for channels, stride in zip(CHANNELS, net.out_strides, strict=True)
    ]
    assert sides(net, *size) == expected


def test_same_padding_computes_finite_maps_of_small_and_odd_images(same):
    with torch.no_grad():
        for size in ((1, 33), (65, 47)):
            assert_declared_shapes(same, image(*size, batch=1, dtype=torch.float64))


def test_padding_alone_is_what_differs(net, same):
    """Away from the border the maps are the same.

    'valid' begins its windows at pixels 0, 2, 4, ... and 'same' at -1, 1, 3, ...: without the first row and
    column of the image they meet. Conv2d_2a and 4a take one pixel of a border each from 'valid' alone, the
    first of them before a pool: pixel i of its map is pixel i + 2 of the other.
    """
    x = image(139, 115, batch=1, dtype=torch.float64)
    with torch.no_grad():
        valid, padded = net(x)[0], same(x[..., 1:, 1:])[0]
    height, width = valid.shape[2:]
    inner = valid[..., 3:-3, 3:-3]
    assert inner.std() > 0.01
    torch.testing.assert_close(padded[..., 5 : height - 1, 5 : width - 1], inner, rtol=0, atol=1e-12)


@pytest.mark.parametrize('stem', ['3x3', '7x7'])
@pytest.mark.parametrize(('last', 'smallest'), enumerate(SMALLEST_IMAGE))
def test_the_smallest_image_of_valid_padding(stem, last, smallest):
    net = light(stem=stem, out_indices=(last,))
    assert min(sides(net, smallest, smallest + 40)[0]) == 1
    for size in ((smallest - 1, 200), (200, smallest - 1)):
        message = rf'{size[0]}x{size[1]} are too small .*{smallest}x{smallest} and more fit'
        with pytest.raises(ValueError, match=message):
            sides(net, *size)
    net.padding = 'unchecked'
    with pytest.raises((RuntimeError, AssertionError)):
        assert min(sides(net, smallest - 1, smallest + 40)[0]) > 0


def test_counts():
    classifier = 2048 * 1000 + 1000
    assert sum(p.numel() for p in light().parameters()) + classifier == 23_834_568
    # one 7x7 convolution and its norm instead of three 3x3s and theirs
    stem = {name: sum(p.numel() for p in light(stem=name).parameters()) for name in ('3x3', '7x7')}
    three = 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * (32 + 32 + 64)
    assert stem['3x3'] - stem['7x7'] == three - (49 * 3 * 64 + 2 * 64)


def test_the_7x7_stem_is_one_convolution():
    net = light(stem='7x7')
    assert [name for name, _ in net.named_children()][:3] == ['Conv2d_1a_7x7', 'maxpool1', 'Conv2d_3b_1x1']
    assert sides(net, 299, 299) == sides(light(), 299, 299)


@pytest.mark.parametrize('out_indices', [(0,), (1, 2), (2,), 1], ids=str)
def test_what_no_output_reads_is_not_built(out_indices):
    indices = (out_indices,) if isinstance(out_indices, int) else out_indices
    net = InceptionV3(padding='same', out_indices=out_indices)
    assert net.out_channels == tuple(CHANNELS[index] for index in indices)
    assert net.out_strides == tuple(4 * 2**index for index in indices)
    assert list(net.children())[-1] is getattr(net, INCEPTION_STAGES[indices[-1]])
    loss_of(assert_declared_shapes(net, image(40, 33))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


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


def test_a_gate_weighs_the_concatenation(net):
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
def files(net, tmp_path_factory):
    """The plain net's weights, alone and with torchvision's classifiers."""
    folder = tmp_path_factory.mktemp('weights')
    state = {name: value.float() for name, value in net.state_dict().items()}
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
