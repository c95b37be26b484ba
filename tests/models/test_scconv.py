"""Self-calibrated convolutions in the place of a host's 3x3 convolutions."""

import pytest
import torch
from mmcv.cnn import ConvModule, build_conv_layer
from torch import nn

from helpers.nets import image, loss_of, randomise
from helpers.plain_scnet import TOLERANCE, PlainSCNet
from inimg_mm.models.backbones import SCConv, SCConv2d

SC_CONV = dict(type='inimg_mm.SCConv')


@pytest.mark.parametrize(
    'options',
    [
        dict(padding=1),
        dict(padding=1, stride=2, bias=False),
        dict(padding=2, dilation=2, groups=2, bias=False),
        dict(padding=1, stride=(1, 2)),
        dict(padding=(1, 2), dilation=(1, 2)),
        dict(padding=1, pooling='max', identity=False, pooling_r=2),
    ],
    ids=str,
)
def test_against_the_plain_implementation(options):
    """``[k1(first half), k4(k3(second half) * sigmoid(second half + up(k2(pool(second half)))))]``."""
    conv = randomise(build_conv_layer(dict(SC_CONV), 16, 24, 3, **options)).double()
    assert isinstance(conv, SCConv2d)
    x = image(13, 18, dtype=torch.float64).repeat(1, 6, 1, 1)[:, :16]
    stride, dilation = options.get('stride', 1), options.get('dilation', 1)
    for training in (False, True):
        plain = PlainSCNet(
            conv.state_dict(),
            training,
            r=options.get('pooling_r', 4),
            pooling=options.get('pooling', 'avg'),
            identity=options.get('identity', True),
        )
        expected = torch.cat(
            [
                plain.conv('k1', x[:, :8], stride, dilation),
                plain.calibrated('scconv', x[:, 8:], stride, dilation, norm=lambda name, y: y),
            ],
            dim=1,
        )
        assert (conv.train(training)(x) - expected).abs().max() < TOLERANCE
        like = nn.Conv2d(16, 24, 3, stride, options['padding'], dilation).double()
        assert expected.shape == like(x).shape


PLAIN = {
    '1x1': (16, 16, 1, {}),
    '7x7': (16, 16, 7, dict(padding=3)),
    '3x1': (16, 16, (3, 1), dict(padding=(1, 0))),
    'without padding': (16, 16, 3, {}),
    'three channels': (3, 16, 3, dict(padding=1)),
    'odd channels': (16, 15, 3, dict(padding=1)),
    'depthwise': (16, 16, 3, dict(padding=1, groups=16)),
}


@pytest.mark.parametrize('case', PLAIN)
def test_what_stays_plain(case):
    in_channels, out_channels, kernel, options = PLAIN[case]
    conv = build_conv_layer(dict(SC_CONV), in_channels, out_channels, kernel, bias=False, **options)
    assert type(conv) is nn.Conv2d
    expected = nn.Conv2d(in_channels, out_channels, kernel, bias=False, **options)
    assert (conv.extra_repr(), conv.bias) == (expected.extra_repr(), None)


@pytest.mark.parametrize('norm_cfg', [None, dict(type='BN'), dict(type='GN', num_groups=2)], ids=str)
@pytest.mark.parametrize('order', [('conv', 'norm', 'act'), ('norm', 'act', 'conv')], ids=str)
def test_in_a_conv_module(norm_cfg, order):
    module = ConvModule(
        16, 16, 3, stride=2, padding=1, conv_cfg=dict(SC_CONV), norm_cfg=norm_cfg, order=order
    )
    module.init_weights()
    out = module(torch.randn(2, 16, 9, 12))
    assert out.shape == (2, 16, 5, 6)
    out.square().mean().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert [module.conv.k1.bias is None, module.conv.scconv.k4[0].bias is None] == [norm_cfg is not None] * 2


def mmdet_net(name, **options):
    backbones = pytest.importorskip('mmdet.models.backbones')
    return getattr(backbones, name)(norm_eval=False, base_channels=16, stem_channels=16, **options)


def mmpretrain_net(name, **options):
    backbones = pytest.importorskip('mmpretrain.models.backbones')
    return getattr(backbones, name)(base_channels=16, stem_channels=16, out_indices=(0, 1, 2, 3), **options)


HOSTS = {
    'mmdet ResNet-18': (mmdet_net, 'ResNet', dict(depth=18)),
    'mmdet ResNet-50': (mmdet_net, 'ResNet', dict(depth=50)),
    'mmdet ResNet-50 dilated': (
        mmdet_net,
        'ResNet',
        dict(depth=50, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    ),
    'mmdet ResNetV1d-50': (mmdet_net, 'ResNetV1d', dict(depth=50)),
    'mmdet ResNeXt-50': (mmdet_net, 'ResNeXt', dict(depth=50, groups=4, base_width=64)),
    'mmpretrain ResNet-18': (mmpretrain_net, 'ResNet', dict(depth=18)),
    'mmpretrain ResNet-50': (mmpretrain_net, 'ResNet', dict(depth=50)),
    'mmpretrain ResNetV1d-50': (mmpretrain_net, 'ResNetV1d', dict(depth=50)),
}


@pytest.mark.parametrize('case', HOSTS)
def test_in_a_hosts_backbone(case):
    build, name, options = HOSTS[case]
    plain, net = build(name, **options), build(name, conv_cfg=dict(SC_CONV), **options)
    net.init_weights()
    replaced = {key for key, module in net.named_modules() if isinstance(module, SCConv2d)}
    inside = tuple(f'{key}.' for key in replaced)
    for key, conv in plain.named_modules():
        if isinstance(conv, nn.Conv2d):
            halves = conv.kernel_size == (3, 3) and conv.in_channels > 3
            assert (key in replaced) == halves, key
            assert type(net.get_submodule(key)) is (SCConv2d if halves else nn.Conv2d)
    assert {key for key, module in net.named_modules() if isinstance(module, SCConv)} == {
        f'{key}.scconv' for key in replaced
    }
    outside = [key for key, _ in net.named_parameters() if not key.startswith(inside)]
    assert set(outside) <= {key for key, _ in plain.named_parameters()}
    x = image(64, 96)
    net.train()  # returns None in mmdet
    maps = net(x)
    assert [m.shape for m in maps] == [m.shape for m in plain(x)]
    loss_of(maps).backward()
    assert not [key for key, parameter in net.named_parameters() if parameter.grad is None]
