"""Our nets against those that we did not write, with the same random weights, in float64."""

import pytest
import torch
from torch import nn

from helpers.nets import image, randomise
from inimg_mm import zoo
from inimg_mm.registry import MODELS
from inimg_mm.zoo import complexity

TOLERANCE = 1e-9
STEM_NAMES = {'stem.0.': 'conv1.0.', 'stem.1.': 'conv1.1.', 'stem.3.': 'conv1.3.', 'stem.4.': 'conv1.4.',
              'stem.6.': 'conv1.6.', 'stem.7.': 'bn1.'}  # fmt: skip


def torchvision_net(name, **options):
    return pytest.importorskip('torchvision').models.get_model(name, **options)


def mmdet_net(name, **options):
    backbones = pytest.importorskip('mmdet.models.backbones')
    return getattr(backbones, name)(**{'norm_eval': False, **options})


def mmpretrain_net(name, **options):
    backbones = pytest.importorskip('mmpretrain.models.backbones')
    return getattr(backbones, name)(out_indices=(0, 1, 2, 3), **options)


DILATED = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))

# The zoo's name, overrides, and the peer.
PAIRS = {
    'torchvision resnet18': ('resnet18', {}, lambda: torchvision_net('resnet18')),
    'torchvision resnet50': ('resnet50', {}, lambda: torchvision_net('resnet50')),
    'torchvision resnext50': ('resnext50_32x4d', {}, lambda: torchvision_net('resnext50_32x4d')),
    'torchvision wide_resnet50_2': (
        'resnet50',
        dict(base_width=128),
        lambda: torchvision_net('wide_resnet50_2'),
    ),
    'torchvision resnet50 dilated': (
        'resnet50',
        dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), contract_dilation=True),
        lambda: torchvision_net('resnet50', replace_stride_with_dilation=[False, False, True]),
    ),
    'mmdet resnet18': ('resnet18', {}, lambda: mmdet_net('ResNet', depth=18)),
    'mmdet resnet18 dilated': ('resnet18', DILATED, lambda: mmdet_net('ResNet', depth=18, **DILATED)),
    'mmdet resnet50 caffe': (
        'resnet50',
        dict(style='caffe'),
        lambda: mmdet_net('ResNet', depth=50, style='caffe'),
    ),
    'mmdet resnet50 dilated': ('resnet50', DILATED, lambda: mmdet_net('ResNet', depth=50, **DILATED)),
    'mmdet resnet18 v1d': ('resnet18', zoo.V1D, lambda: mmdet_net('ResNetV1d', depth=18)),
    'mmdet resnet50 v1d': ('resnet50_v1d', {}, lambda: mmdet_net('ResNetV1d', depth=50)),
    'mmdet resnext50': (
        'resnext50_32x4d',
        {},
        lambda: mmdet_net('ResNeXt', depth=50, groups=32, base_width=4),
    ),
    'mmpretrain seresnet50': ('seresnet50', {}, lambda: mmpretrain_net('SEResNet', depth=50)),
    'mmpretrain seresnext50': ('seresnext50_32x4d', {}, lambda: mmpretrain_net('SEResNeXt', depth=50)),
}


def peer_features(net, x):
    """The four maps of a peer: torchvision's nets return the classifier's output."""
    if hasattr(net, 'fc'):
        maps, hooks = [], []
        for name in ('layer1', 'layer2', 'layer3', 'layer4'):
            hooks.append(
                net.get_submodule(name).register_forward_hook(lambda module, args, out: maps.append(out))
            )
        net(x)
        for hook in hooks:
            hook.remove()
        return maps
    return net(x)


def our_names(state):
    """Drop a classifier, and name a deep stem as in timm."""
    for theirs, ours in STEM_NAMES.items():
        state = {
            ours + key[len(theirs) :] if key.startswith(theirs) else key: value
            for key, value in state.items()
        }
    return {key: value for key, value in state.items() if not key.startswith('fc.')}


@pytest.mark.parametrize('pair', PAIRS)
def test_same_features(pair):
    name, overrides, build_peer = PAIRS[pair]
    peer = randomise(build_peer()).double()
    net = zoo.build(name, **overrides).double()
    net.load_state_dict(our_names(peer.state_dict()), strict=True)
    x = image(65, 47, dtype=torch.float64)
    differences = []
    for training in (False, True):
        net.train(training)
        peer.train(training)
        with torch.no_grad():
            maps, expected = net(x), peer_features(peer, x)
        assert len(maps) == len(expected) == 4
        assert all(0.01 < e.std() < 1e3 for e in expected)
        differences.append(max((m - e).abs().max().item() for m, e in zip(maps, expected, strict=True)))
    statistics = net.state_dict()
    for key, value in our_names(peer.state_dict()).items():
        torch.testing.assert_close(statistics[key], value, rtol=0, atol=TOLERANCE, msg=key)
    print(f'{pair}: max difference {differences[0]:.1e} in eval, {differences[1]:.1e} in train mode')
    assert max(differences) < TOLERANCE


def test_se_adds_under_one_percent_of_multiply_adds():
    plain, gated = complexity.measure('resnet50'), complexity.measure('seresnet50')
    assert plain.macs < gated.macs < 1.01 * plain.macs


def multiply_adds_by_shapes(net, x):
    """A count of our own: output positions times weights per position."""
    total = 0

    def count(module, args, out):
        nonlocal total
        positions = out[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        total += module.weight.numel() * positions

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    net(x)
    return total


@pytest.mark.parametrize('name', ['resnet50', 'seresnet50', 'resnext50_32x4d', 'ini_resnet50_daf'])
def test_multiply_adds_against_a_hand_count(name):
    net = MODELS.build(zoo.get(name).config).eval()
    with torch.no_grad():
        by_hand = multiply_adds_by_shapes(net, image(64, 64, batch=1))
    assert complexity.measure(name, image_size=64, num_classes=0).macs == by_hand
    assert complexity.measure(name, image_size=64, num_classes=10).macs == by_hand + 10 * 2048
