"""Each gate against its formula, written a second time with loops over numpy arrays."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from helpers.nets import randomise, tiny
from inimg_mm import zoo
from inimg_mm.models.attention import (
    SE,
    Attention,
    DoubleFC,
    InnerImage,
    InnerImaging,
    cmpe_se,
    recalibrated_add,
)
from inimg_mm.models.backbones.blocks import BasicBlock, Bottleneck

TOLERANCE = 1e-12


def mean_of_maps(maps):
    means = np.zeros(maps.shape[:2])
    for n, c in np.ndindex(means.shape):
        means[n, c] = sum(maps[n, c].flat) / maps[n, c].size
    return means


def inner_image(streams, width):
    """Rows of ``width`` channels: residual 0, shortcut 0, residual 1, …; zeros at each stream's end."""
    samples, channels = streams[0].shape
    rows = -(-channels // width)
    image = np.zeros((samples, rows * len(streams), width))
    for s, stream in enumerate(streams):
        for n, c in np.ndindex(stream.shape):
            image[n, (c // width) * len(streams) + s, c % width] = stream[n, c]
    return image


def condensed(image, weight, norm, same_size, training):
    """One bank of filters, normed and averaged over its maps."""
    maps, _, height, width = weight.shape
    if same_size:
        top, left = (height - 1) // 2, (width - 1) // 2
        image = np.pad(image, ((0, 0), (top, height - 1 - top), (left, width - 1 - left)))
    out = np.zeros((len(image), maps, image.shape[1] - height + 1, image.shape[2] - width + 1))
    for n, m, y, x in np.ndindex(out.shape):
        for i, j in np.ndindex(height, width):
            out[n, m, y, x] += weight[m, 0, i, j] * image[n, y + i, x + j]
    for m in range(maps):
        mean, var = (
            (out[:, m].mean(), out[:, m].var())
            if training
            else (norm['running_mean'][m], norm['running_var'][m])
        )
        out[:, m] = (out[:, m] - mean) / np.sqrt(var + 1e-5) * norm['weight'][m] + norm['bias'][m]
    return sum(out[:, m] for m in range(maps)) / maps


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def inner_imaging_formula(state, streams, width, aggregate, training):
    image = inner_image(streams, width)
    banks = [name[: -len('conv.weight')] for name in state if name.endswith('conv.weight')]
    same_size = aggregate == 'map' and len(banks) > 1
    condensed_maps = []
    for bank in banks:
        norm = {key: state[f'{bank}norm.{key}'] for key in ('weight', 'bias', 'running_mean', 'running_var')}
        maps = condensed(image, state[f'{bank}conv.weight'], norm, same_size, training)
        condensed_maps.append(maps.reshape(len(image), -1))
    if same_size:
        condensed_maps = [sum(condensed_maps) / len(banks)]
    codes = [relu(maps @ state[f'encoders.{i}.weight'].T) for i, maps in enumerate(condensed_maps)]
    return sigmoid(sum(codes) / len(codes) @ state['decoder.weight'].T)


def assert_formula(gate, channels, formula, training, size=(3, 5)):
    """Compare a gate in float64 with ``formula(state, streams)``."""
    randomise(gate.double()).train(training)
    state = {name: value.numpy().copy() for name, value in gate.state_dict().items()}
    maps = [
        torch.randn(3, channels, *size, dtype=torch.float64) + 2 * torch.randn(3, channels, 1, 1)
        for _ in '12'
    ]
    expected = formula(state, [mean_of_maps(m.numpy()) for m in maps])
    with torch.no_grad():
        actual = gate(*maps)
    assert actual.shape == (3, channels, 1, 1)
    assert expected.std() > 1e-3
    assert np.abs(actual[..., 0, 0].numpy() - expected).max() < TOLERANCE


# What to build, and the width of the image's rows that it must have.
INNER_IMAGING = {
    'D': (32, dict(filters=((2, 1),), fold=None), 32),
    'D+A': (32, dict(filters=((1, 1), (2, 1)), fold=None), 32),
    'D+A+F': (64, dict(filters=((1, 1), (2, 1), (3, 3)), fold=16), 16),
    'default is D+A+F': (64, dict(), 16),
    'one stream': (64, dict(streams=1), 16),
    'one stream, unfolded': (32, dict(streams=1, filters=((1, 1), (1, 3)), fold=None), 32),
    'fold by width': (48, dict(fold=dict(width=8)), 8),
    'fold by rows': (40, dict(fold=dict(rows=10)), 4),
    'padded width': (40, dict(fold=dict(width=16, pad=True)), 16),
    'padded width, one stream': (40, dict(fold=dict(width=12, pad=True), streams=1), 12),
    'narrow: width halved once': (16, dict(fold=16), 8),
    'narrow: width halved twice': (16, dict(fold=16, streams=1), 4),
    'even kernels': (32, dict(filters=((2, 2), (1, 1)), fold=8), 8),
    'even and odd sides': (32, dict(filters=((2, 3), (4, 2)), fold=8), 8),
    'one even kernel': (32, dict(filters=((2, 2),), fold=8), 8),
    'one filter, aggregate map': (32, dict(filters=((3, 3),), fold=8, aggregate='map'), 8),
    'aggregate code': (64, dict(aggregate='code'), 16),
    'aggregate code, unfolded': (32, dict(filters=((1, 1), (2, 1)), fold=None, aggregate='code'), 32),
    'maps': (32, dict(maps=3, fold=8), 8),
    'planes': (64, dict(planes=32), 16),
    'reduction': (64, dict(reduction=16), 16),
}


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize('case', INNER_IMAGING)
def test_inner_imaging(case, training):
    channels, options, width = INNER_IMAGING[case]

    def formula(state, streams):
        streams = streams[: options.get('streams', 2)]
        return inner_imaging_formula(state, streams, width, options.get('aggregate', 'map'), training)

    assert_formula(InnerImaging(channels, **{'reduction': 4, **options}), channels, formula, training)


CMPE_VIEWS = {
    'pair_2x1': (dict(view='pair_2x1'), 64),
    'pair_1x1': (dict(view='pair_1x1'), 64),
    'folded_3x3': (dict(view='folded_3x3'), 16),
    'folded_3x3 by width': (dict(view='folded_3x3', fold=8), 8),
    'folded_3x3 by rows': (dict(view='folded_3x3', fold=dict(rows=2)), 32),
}


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize('case', CMPE_VIEWS)
def test_cmpe_se(case, training):
    options, width = CMPE_VIEWS[case]

    def formula(state, streams):
        return inner_imaging_formula(state, streams, width, 'map', training)

    assert_formula(cmpe_se(64, **options), 64, formula, training)


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
def test_double_fc(training):
    def formula(state, streams):
        codes = [relu(stream @ state[f'encoders.{i}.weight'].T) for i, stream in enumerate(streams)]
        return sigmoid(np.concatenate(codes, axis=1) @ state['decoder.weight'].T)

    assert_formula(cmpe_se(64, view='double_fc'), 64, formula, training)


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize('options', [{}, dict(bias=False), dict(reduction=4), dict(divisor=8)], ids=str)
def test_se(options, training):
    def formula(state, streams):
        code, biases = streams[0], [state.get(f'conv{i}.conv.bias', 0) for i in (1, 2)]
        code = relu(code @ state['conv1.conv.weight'][..., 0, 0].T + biases[0])
        return sigmoid(code @ state['conv2.conv.weight'][..., 0, 0].T + biases[1])

    assert ('conv1.conv.bias' in SE(64, **options).state_dict()) == options.get('bias', True)
    assert_formula(SE(64, **options), 64, formula, training)


@pytest.mark.parametrize(
    ('channels', 'reduction', 'divisor', 'hidden'),
    [
        (64, 16, 1, 4),
        (56, 16, 1, 3),
        (72, 16, 1, 4),
        (8, 16, 1, 1),
        (64, 16, 8, 8),
        (288, 16, 8, 24),
        (160, 16, 8, 16),
    ],
)
def test_se_width(channels, reduction, divisor, hidden):
    # 18 is as near to 16 as rounding goes, but more than a tenth below: 24; 10 likewise: 16
    assert SE(channels, reduction, divisor=divisor).conv1.conv.out_channels == hidden


@given(channels=st.integers(1, 70), width=st.integers(1, 40), streams=st.sampled_from([1, 2]))
def test_any_image_interleaves_rows(channels, width, streams):
    layout = InnerImage.fold(channels, streams, dict(width=width, pad=True), min_height=1)
    means = [torch.rand(2, channels, 1, 1) + 1 for _ in range(streams)]
    expected = inner_image([m[..., 0, 0].numpy() for m in means], width)
    assert np.array_equal(layout.render(tuple(means))[:, 0].numpy(), expected.astype(np.float32))


@pytest.mark.parametrize(
    ('view', 'length'),
    [('pair_2x1', 256), ('pair_1x1', 512), ('folded_3x3', (2 * 256 // 16 - 2) * (16 - 2))],
)
def test_length_of_the_coded_map(view, length):
    gate = cmpe_se(256, planes=64, view=view)
    assert gate.encoders[0].weight.shape == (16, length)
    assert gate.decoder.weight.shape == (256, 16)
    assert gate.filters[0].conv.out_channels == 4
    assert not any(name.endswith('bias') for name, _ in gate.named_parameters() if 'norm' not in name)


def test_maps_follow_the_planes_of_the_block():
    bottleneck, basic = (
        tiny('cmpese_resnet50_pair_1x1', base_channels=64),
        zoo.build('cmpese_resnet50_pair_1x1', depth=18),
    )
    for net in (bottleneck, basic):
        maps = [
            net.get_submodule(f'layer{stage}.0.gate.filters.0.conv').out_channels for stage in (1, 2, 3, 4)
        ]
        assert maps == [4, 8, 16, 32]
    assert (
        tiny('cmpese_resnet50_pair_1x1', depth=18, base_channels=8)
        .layer1[0]
        .gate.filters[0]
        .conv.out_channels
        == 1
    )


def test_repr_shows_the_image():
    assert 'image=8x16, streams=2, rows_per_stream=4' in repr(InnerImaging(64))
    assert 'image=4x8' in repr(cmpe_se(16, view='folded_3x3'))


@pytest.mark.parametrize(
    ('block', 'planes', 'stride'), [(BasicBlock, 32, 1), (BasicBlock, 64, 2), (Bottleneck, 16, 2)], ids=str
)
def test_block_weighs_the_last_norm_against_the_projected_shortcut(block, planes, stride):
    net = tiny('cmpese_resnet50_pair_2x1', depth=18 if block is BasicBlock else 50, base_channels=planes)
    unit = randomise(net.layer2[0].double()).eval()
    x = torch.randn(2, unit.conv1.in_channels, 6, 6, dtype=torch.float64)
    shortcut, residual = unit.downsample(x), unit.branch(x)
    state = {name: value.numpy() for name, value in unit.gate.state_dict().items()}
    means = [mean_of_maps(maps.detach().numpy()) for maps in (residual, shortcut)]
    weight = inner_imaging_formula(state, means, residual.shape[1], 'map', training=False)
    expected = relu(shortcut.detach().numpy() + weight[..., None, None] * residual.detach().numpy())
    assert np.abs(unit(x).detach().numpy() - expected).max() < TOLERANCE


def test_recalibrated_add_drops_after_the_gate():
    shortcut, residual = torch.randn(2, 16, 3, 3), torch.randn(2, 16, 3, 3)
    gate = SE(16)
    out = recalibrated_add(shortcut, residual, gate, nn.Hardtanh(0, 0.1))
    torch.testing.assert_close(out, shortcut + gate(residual) * residual.clamp(0, 0.1))


GATES = {'SE': SE, 'DoubleFC': DoubleFC, 'pair_1x1': cmpe_se, 'InnerImaging': InnerImaging}


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize('name', GATES)
def test_gate_is_computed_in_float32_under_autocast(name, dtype):
    gate = randomise(GATES[name](32)).eval()
    # a sum of these overflows float16; their mean's last digits do not survive bfloat16
    maps = [(torch.rand(2, 32, 40, 40) * 100 + shift).to(dtype) for shift in (300, 200)]
    with torch.autocast('cpu', dtype):
        weight = gate(*(m.to(memory_format=torch.channels_last) for m in maps))
    assert weight.dtype == dtype
    precise = gate(*(m.float() for m in maps))
    assert precise.isfinite().all()
    torch.testing.assert_close(weight.float(), precise, rtol=torch.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize('name', GATES)
def test_huge_maps_stay_finite_under_autocast(name):
    gate = GATES[name](32)
    maps = [torch.full((2, 32, 8, 8), 60000.0, dtype=torch.float16).requires_grad_() for _ in range(2)]
    with torch.autocast('cpu', torch.float16):
        weight = gate(*maps)
    weight.float().sum().backward()
    assert weight.isfinite().all()
    assert all(p.grad.isfinite().all() for p in gate.parameters())


@pytest.mark.parametrize('name', GATES)
def test_half_precision_gate(name):
    gate = randomise(GATES[name](32)).eval()
    maps = [torch.randn(2, 32, 4, 4) for _ in range(2)]
    expected = gate(*maps)
    weight = gate.half()(*(m.half() for m in maps))
    assert weight.dtype == torch.float16
    torch.testing.assert_close(weight.float(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize('name', GATES)
def test_weights_that_are_no_parameters(name):
    # so it is in a replica of nn.DataParallel, and under FSDP with use_orig_params=False
    gate = randomise(GATES[name](32)).eval()
    maps = [torch.randn(2, 32, 4, 4) for _ in range(2)]
    expected = gate(*maps)
    for module in gate.modules():
        for key, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, key)
            setattr(module, key, parameter.detach())
    assert not list(gate.parameters())
    assert torch.equal(gate(*maps), expected)


def test_gates_norm_follows_the_spec_and_sync_bn():
    def norm(spec, norm_cfg):
        return Attention(dict(type='CMPESE', **spec), 4, norm_cfg).build(0, 64, 64).filters[0].norm

    assert isinstance(norm({}, None), nn.BatchNorm2d)
    assert isinstance(norm({}, dict(type='GN', num_groups=8)), nn.BatchNorm2d)
    assert isinstance(norm({}, dict(type='SyncBN', requires_grad=True)), nn.SyncBatchNorm)
    for same in (nn.SyncBatchNorm, 'torch.nn.SyncBatchNorm'):  # as pure Python configs name it
        assert isinstance(norm({}, dict(type=same)), nn.SyncBatchNorm)
    assert isinstance(norm(dict(norm_cfg=dict(type='GN', num_groups=2)), dict(type='BN')), nn.GroupNorm)


def test_stages_without_gates():
    net = tiny('seresnet18', attention=dict(type='SE', stages=(False, True, False, True)))
    assert [hasattr(net.get_submodule(f'layer{i}.0'), 'se_layer') for i in (1, 2, 3, 4)] == [
        False,
        True,
        False,
        True,
    ]
