"""Where a gate stands in its block, and what squeezes and excites: SENet's ablations."""

import pytest
import torch
from torch.nn import functional as F

from helpers.nets import image, loss_of, randomise, tiny
from inimg_mm.models.attention import SE, OtherSqueezeSE, squeeze_excitation
from inimg_mm.zoo.complexity import measure

TOLERANCE = 1e-12
EVERYWHERE = ('standard', 'pre', 'post', 'identity')
BLOCKS = {
    'basic': ('resnet18', EVERYWHERE),
    'bottleneck': ('resnet50', (*EVERYWHERE, '3x3')),
    'calibrated': ('scnet50', EVERYWHERE),
}
PLACES = [
    pytest.param(block, place, id=f'{block}, {place}') for block, (_, p) in BLOCKS.items() for place in p
]


def gated(name, position, **options):
    return tiny(name, attention=dict(type='SE', reduction=4, position=position), **options)


def inner_convolutions(block, x, gate):
    """The branch of a plain bottleneck, with a gate behind the ReLU of its 3x3 convolution."""
    x = F.relu(block.bn1(block.conv1(x)))
    x = F.relu(block.bn2(block.conv2(x)))
    return block.bn3(block.conv3(x * gate(x)))


def expected_of(block, x, place):
    gate, down = block.se_layer, block.downsample
    if place == '3x3':
        return F.relu(down(x) + inner_convolutions(block, x, gate))
    if place == 'pre':
        return F.relu(down(x) + block.branch(x * gate(x)))
    residual, shortcut = block.branch(x), down(x)
    if place == 'identity':
        return F.relu(shortcut * gate(shortcut) + residual)
    if place == 'post':
        out = F.relu(shortcut + residual)
        return out * gate(out)
    return F.relu(shortcut + gate(residual) * residual)


@pytest.mark.parametrize('number', [0, 1], ids=['projected', 'identity'])
@pytest.mark.parametrize(('block', 'place'), PLACES)
def test_formula(block, place, number):
    unit = randomise(gated(BLOCKS[block][0], place).double()).eval().layer2[number]
    unit.downsample = unit.downsample or torch.nn.Identity()
    channels = unit.se_layer.conv1.in_channels
    wide = unit.get_submodule('conv1_a' if block == 'calibrated' else 'conv1').in_channels
    assert channels == {'pre': wide, '3x3': 32}.get(place, unit.last_affine.num_features)
    x = torch.randn(2, wide, 6, 5, dtype=torch.float64)
    out, expected = unit(x), expected_of(unit, x, place)
    assert (out - expected).abs().max() < TOLERANCE
    weights = torch.ones(2, channels, 1, 1, dtype=torch.float64)
    unit.se_layer.weigh = lambda means, dtype: weights  # a gate that is open: the plain block
    plain = F.relu(unit.downsample(x) + unit.branch(x))
    assert (unit(x) - plain).abs().max() < TOLERANCE
    assert (out - plain).abs().max() > 1e-3


@pytest.mark.parametrize(('block', 'place'), PLACES)
def test_every_parameter_learns(block, place):
    net = gated(BLOCKS[block][0], place, with_cp=True, drop_path_rate=0.1, zero_init_residual=False).train()
    loss_of(net(image(64, 48))).backward()
    assert not [key for key, parameter in net.named_parameters() if parameter.grad is None]


def test_behind_the_3x3_convolution_is_where_mmdet_has_its_plugins():
    backbones = pytest.importorskip('mmdet.models.backbones')
    plugin = dict(cfg=dict(type='inimg_mm.SE', reduction=4), position='after_conv2')
    theirs = backbones.ResNet(50, base_channels=16, stem_channels=16, plugins=[plugin], norm_eval=False)
    randomise(theirs.double()).eval()
    net = gated('resnet50', '3x3', base_channels=16).double().eval()
    net.load_state_dict(theirs.state_dict())
    x = image(64, 64, dtype=torch.float64)
    with torch.no_grad():
        for ours, expected in zip(net(x), theirs(x), strict=True):
            assert (ours - expected).abs().max() < TOLERANCE * expected.abs().max()


def test_repr_says_what_is_not_standard():
    assert 'gate_position' not in repr(gated('resnet18', 'standard'))
    assert repr(gated('resnet18', 'post')).count("gate_position='post'") == 8
    assert "squeeze='max', excitation='tanh'" in repr(
        squeeze_excitation(16, squeeze='max', excitation='tanh')
    )
    assert 'squeeze' not in repr(squeeze_excitation(16))


@pytest.mark.parametrize('excitation', ['sigmoid', 'tanh', 'relu'])
@pytest.mark.parametrize('squeeze', ['avg', 'max', 'none'])
def test_squeeze_and_excitation(squeeze, excitation):
    gate = squeeze_excitation(32, reduction=4, squeeze=squeeze, excitation=excitation)
    assert type(gate) is (SE if squeeze == 'avg' else OtherSqueezeSE)
    randomise(gate.double())
    x = torch.randn(3, 32, 5, 4, dtype=torch.float64)
    u = {'avg': x.flatten(2).sum(2) / 20, 'max': x.flatten(2).sort(2).values[..., -1], 'none': x.flatten(2)}
    (w1, b1), (w2, b2) = ((c.conv.weight.flatten(1), c.conv.bias) for c in (gate.conv1, gate.conv2))
    values = u[squeeze].reshape(3, 32, -1).transpose(1, 2)
    values = (values @ w1.T + b1).clamp(min=0) @ w2.T + b2
    values = {'sigmoid': 1 / (1 + (-values).exp()), 'tanh': 1 - 2 / ((2 * values).exp() + 1),
              'relu': values.clamp(min=0)}[excitation]  # fmt: skip
    shape = (3, 32, 5, 4) if squeeze == 'none' else (3, 32, 1, 1)
    assert (gate(x) - values.transpose(1, 2).reshape(shape)).abs().max() < TOLERANCE


@pytest.mark.parametrize('squeeze', ['max', 'none'])
def test_half_precision_is_left_for_float32_under_autocast(squeeze):
    gate = randomise(squeeze_excitation(32, squeeze=squeeze))
    x = (torch.rand(2, 32, 6, 6) * 100 + 300).to(torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        weight = gate(x)
    assert weight.dtype == torch.bfloat16
    torch.testing.assert_close(weight, gate(x.float()).to(torch.bfloat16), rtol=0, atol=0)


# SENet's tables of ResNet-50 (in M and G): SE 28.1 and 3.87, 3x3 25.8, NoSqueeze 28.1 and 4.27 against 3.86.
SIZES = {
    'standard': (dict(), 28_088_024),
    # one gate on 64 channels more, one on 2048 less
    'pre': (dict(position='pre'), 28_088_024 + 580 - 526_464),
    'post': (dict(position='post'), 28_088_024),
    'identity': (dict(position='identity'), 28_088_024),
    '3x3': (dict(position='3x3'), 25_718_228),
    'NoSqueeze': (dict(squeeze='none'), 28_088_024),
    'ablations': (dict(bias=False), 28_071_976),
    'stage 4': (dict(bias=False, stages=(False, False, True, False)), 25_557_032 + 6 * 2 * 1024 * 64),
}


@pytest.mark.parametrize('case', SIZES)
def test_sizes(case):
    options, params = SIZES[case]
    assert measure('resnet50', attention=dict(type='SE', **options)).params == params


def test_multiply_adds_without_pooling():
    plain, gated = measure('resnet50'), measure('resnet50', attention=dict(type='SE', squeeze='none'))
    assert (gated.macs - plain.macs) / 1e9 == pytest.approx(4.27 - 3.86, abs=0.005)


REFUSED = {
    'unknown': (
        'resnet50',
        dict(type='SE', position='middle'),
        r"='middle'.*'standard', .*'identity', '3x3'",
    ),
    'no bottleneck': ('resnet18', dict(type='SE', position='3x3'), r"choose from .*'post', 'identity'\]$"),
    'calibrated': ('scnet50', dict(type='SE', position='3x3'), r"choose from .*'post', 'identity'\]$"),
    'two streams': (
        'resnet50',
        dict(type='CMPESE', position='post'),
        r"do not meet in position='post'.*type='SE', or type='InnerImaging' with streams=1",
    ),
    'squeeze': ('resnet50', dict(type='SE', squeeze='min'), r"squeeze must be one of .*'none'\], got 'min'"),
    'excitation': ('resnet50', dict(type='SE', excitation='elu'), r"excitation must be one of .*'relu'\]"),
    'of another gate': ('resnet50', dict(type='CMPESE', squeeze='max'), "has no option 'squeeze'"),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refusals(case):
    name, attention, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        tiny(name, attention=attention)


@pytest.mark.parametrize(
    'settings',
    [
        dict(type='inimg_mm.InceptionV3', attention=dict(type='SE', position='pre')),
        dict(
            type='inimg_mm.WideResNet', depth=16, widen_factor=1, attention=dict(type='SE', position='post')
        ),
    ],
    ids=['Inception', 'pre-activation'],
)
def test_families_with_the_standard_place_alone(settings):
    from inimg_mm.registry import MODELS

    with pytest.raises(ValueError, match=r"no place for a gate in these blocks; choose from \['standard'\]"):
        MODELS.build(settings)
