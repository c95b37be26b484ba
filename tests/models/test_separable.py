"""Depthwise-separable convolutions in the place of the square ones."""

import pytest
import torch
from mmcv.cnn import build_conv_layer
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from helpers.nets import image, loss_of, randomise, tiny
from inimg_mm.models.backbones import SeparableConv2d
from inimg_mm.registry import MODELS
from inimg_mm.zoo.complexity import measure

SEPARABLE = dict(type='inimg_mm.SeparableConv')


def count(conv, size):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        conv(torch.zeros(1, conv.in_channels, *size))
    return sum(p.numel() for p in conv.parameters()), counter.get_total_flops() // 2


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('groups', [1, 4])
@pytest.mark.parametrize('kernel', [3, 5])
def test_costs(kernel, groups, stride):
    """1/M + 1/K² of the square convolution's, with M channels of the output."""
    channels, width = 32, 48
    options = dict(stride=stride, padding=kernel // 2, groups=groups, bias=False)
    conv = build_conv_layer(dict(SEPARABLE), channels, width, kernel, **options)
    plain = nn.Conv2d(channels, width, kernel, **options)
    assert isinstance(conv, SeparableConv2d)
    for cost, whole in zip(count(conv, (12, 16)), count(plain, (12, 16)), strict=True):
        assert cost / whole == pytest.approx(groups / width + 1 / kernel**2, rel=1e-12)


@pytest.mark.parametrize(
    'options', [dict(padding=1), dict(padding=2, dilation=2, stride=2, groups=2)], ids=str
)
def test_is_the_square_convolution_of_rank_one_kernels(options):
    conv = randomise(build_conv_layer(dict(SEPARABLE), 8, 12, 3, **options)).double()
    groups = options.get('groups', 1)
    depthwise = conv.depthwise.weight.view(groups, 8 // groups, 3, 3)
    pointwise = conv.pointwise.weight.view(groups, 12 // groups, 8 // groups, 1, 1)
    kernels = (pointwise * depthwise[:, None]).flatten(0, 1)
    x = torch.randn(2, 8, 9, 10, dtype=torch.float64)
    expected = F.conv2d(x, kernels, conv.pointwise.bias, **options)
    assert (conv(x) - expected).abs().max() < 1e-12


@pytest.mark.parametrize(
    ('channels', 'kernel', 'options'),
    [
        (16, 1, {}),
        (16, 7, dict(padding=3)),
        (16, (1, 7), dict(padding=(0, 3))),
        (16, (3, 1), dict(padding=(1, 0))),
        (3, 3, dict(padding=1)),
        (16, 3, dict(padding=1, groups=16)),
    ],
    ids=str,
)
def test_what_stays_plain(channels, kernel, options):
    assert type(build_conv_layer(dict(SEPARABLE), channels, 16, kernel, **options)) is nn.Conv2d


NETS = {
    'ResNet-18': (lambda **o: tiny('resnet18', **o), {(3, 3)}, ('conv1',)),
    'ResNet-50': (lambda **o: tiny('resnet50', **o), {(3, 3)}, ('conv1',)),
    'ResNet-50 v1d': (lambda **o: tiny('resnet50_v1d', **o), {(3, 3)}, ('conv1',)),
    'ResNeXt-50': (lambda **o: tiny('resnext50_32x4d', base_channels=64, **o), {(3, 3)}, ('conv1',)),
    'SCNet-50': (lambda **o: tiny('scnet50', **o), {(3, 3)}, ('conv1',)),
    'WRN-10-2': (
        lambda **o: MODELS.build(dict(type='inimg_mm.WideResNet', depth=10, widen_factor=2, **o)),
        {(3, 3)},
        ('conv1',),
    ),
    'Inception-v3': (
        lambda **o: MODELS.build(dict(type='inimg_mm.InceptionV3', **o)),
        {(3, 3), (5, 5)},
        ('Conv2d_1a_3x3', 'Conv2d_2a_3x3', 'Conv2d_2b_3x3'),
    ),
}


@pytest.mark.parametrize('case', NETS)
def test_in_a_backbone(case):
    """Every square convolution but the stem's, and nothing else."""
    build, kernels, stem = NETS[case]
    with torch.device('meta'):
        plain, net = build(), build(conv_cfg=dict(SEPARABLE))
    replaced = {key for key, module in net.named_modules() if isinstance(module, SeparableConv2d)}
    expected = {
        key
        for key, module in plain.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size in kernels and key.split('.')[0] not in stem
    }
    assert replaced == expected
    assert replaced


@pytest.mark.parametrize('name', ['resnet18', 'seresnet50', 'scnet50'])
def test_trains(name):
    net = tiny(name, conv_cfg=dict(SEPARABLE), zero_init_residual=False)
    net.init_weights()
    loss_of(net(image(64, 48))).backward()
    assert not [key for key, parameter in net.named_parameters() if parameter.grad is None]


def test_multiply_adds_of_resnet50():
    """What the counter says of the whole net, by hand: 16 convolutions of K = 3."""
    plain, net = measure('resnet50'), measure('resnet50', conv_cfg=dict(SEPARABLE))
    widths = {64: (3, 56), 128: (4, 28), 256: (6, 14), 512: (3, 7)}
    square = {width: 9 * width * width for width in widths}
    saved = {width: square[width] - (9 * width + width * width) for width in widths}
    assert plain.params - net.params == sum(blocks * saved[width] for width, (blocks, _) in widths.items())
    strided = {width: saved[width] * size * size * blocks for width, (blocks, size) in widths.items()}
    assert plain.macs - net.macs == sum(strided.values())


def test_a_last_layer_of_several_cannot_start_at_zero():
    settings = dict(type='inimg_mm.WideResNet', depth=10, widen_factor=1, conv_cfg=dict(SEPARABLE))
    with pytest.raises(ValueError, match='SeparableConv2d ends the branch.*zero_init_residual=False'):
        MODELS.build(dict(settings, zero_init_residual=True))


def test_it_has_no_options():
    with pytest.raises(ValueError, match=r"SeparableConv has no option 'kernel': .* write conv_cfg=dict\("):
        MODELS.build(dict(type='inimg_mm.ResNet', depth=18, conv_cfg=dict(SEPARABLE, kernel=5)))
