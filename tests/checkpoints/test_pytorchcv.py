"""pytorchcv's nets: its weights under our names compute what its modules do, and go back bit by bit."""

import pytest
import torch

from helpers.nets import image, randomise
from inimg_mm.checkpoints import Pretrained, detect, from_native, to_native
from inimg_mm.registry import MODELS

TOLERANCE = 1e-9
SE = dict(type='SE')
BARE = dict(stem_norm=True, stem_relu=True, final_norm=False)
SMALL = dict(base_channels=16, stem_channels=16)

# Its module and builder, the arguments, and our config.
PAIRS = {
    'PreResNet-20': (
        'preresnet_cifar',
        'get_preresnet_cifar',
        (10, 20, False),
        dict(type='PreActResNet', depth=20),
    ),
    'PreResNet-29 of bottlenecks': (
        'preresnet_cifar',
        'get_preresnet_cifar',
        (10, 29, True),
        dict(type='PreActResNet', depth=29),
    ),
    'SE-PreResNet-20': (
        'sepreresnet_cifar',
        'get_sepreresnet_cifar',
        (10, 20, False),
        dict(type='PreActResNet', depth=20, attention=SE, **BARE),
    ),
    'SE-PreResNet-29 of bottlenecks': (
        'sepreresnet_cifar',
        'get_sepreresnet_cifar',
        (10, 29, True),
        dict(type='PreActResNet', depth=29, attention=SE, **BARE),
    ),
    'WRN-10-4': (
        'wrn_cifar',
        'get_wrn_cifar',
        (10, 10, 4),
        dict(type='WideResNet', depth=10, widen_factor=4),
    ),
    'PyramidNet-20 a48': (
        'pyramidnet_cifar',
        'get_pyramidnet_cifar',
        (10, 20, 48, False),
        dict(type='PyramidNet', depth=20, alpha=48),
    ),
    'PyramidNet-29 a50 of bottlenecks': (
        'pyramidnet_cifar',
        'get_pyramidnet_cifar',
        (10, 29, 50, True),
        dict(type='PyramidNet', depth=29, alpha=50),
    ),
    'PyramidNet-50 a60': (
        'pyramidnet',
        'get_pyramidnet',
        (50, 60),
        dict(type='PyramidNet', depth=50, alpha=60),
    ),
    'PreResNet-18': ('preresnet', 'get_preresnet', (18,), dict(type='PreActResNet', depth=18)),
    'PreResNet-50': ('preresnet', 'get_preresnet', (50,), dict(type='PreActResNet', depth=50, style='caffe')),
    'SCNet-50': ('scnet', 'get_scnet', (50,), dict(type='SCNet', depth=50)),
    'SCNet-A-50': (
        'scnet',
        'get_scnet',
        (50, 1.0, True, True),
        dict(type='SCNet', depth=50, deep_stem=True, avg_down=True, avd=True),
    ),
    'SE-ResNet-50': ('seresnet', 'get_seresnet', (50,), dict(type='SEResNet', depth=50, style='caffe')),
}


def peer_and_net(pair):
    module, builder, arguments, config = PAIRS[pair]
    models = pytest.importorskip(f'pytorchcv.models.{module}')
    peer = randomise(getattr(models, builder)(*arguments)).double()
    return peer, MODELS.build(dict(config, type=f'inimg_mm.{config["type"]}')).double()


@pytest.mark.parametrize('pair', PAIRS)
def test_same_features_and_back(pair):
    peer, net = peer_and_net(pair)
    theirs = peer.state_dict()
    assert detect(theirs) == 'pytorchcv'
    ours = to_native(theirs)
    back = from_native(ours, 'pytorchcv')
    assert list(back) == list(theirs)
    assert all(back[name] is value for name, value in theirs.items())
    classifier = {name: value for name, value in ours.items() if name.startswith('fc.')}
    assert len(classifier) == 2
    net.load_state_dict({name: value for name, value in ours.items() if name not in classifier}, strict=True)
    size = (128, 112) if 'SCNet' in pair else (64, 49) if len(net.depths) == 4 else (16, 16)
    x = image(*size, dtype=torch.float64)
    differences = []
    for training in (False, True):
        with torch.no_grad():
            actual, expected = net.train(training)(x)[-1], x
            for part in list(peer.train(training).features)[:-1]:  # all but the mean
                expected = part(expected)
        assert 0.01 < expected.std() < 1e3
        differences.append((actual - expected).abs().max().item())
    print(f'{pair}: max difference {differences[0]:.1e} in eval, {differences[1]:.1e} in train mode')
    assert max(differences) < TOLERANCE


def test_its_files_are_loaded_as_any_others(tmp_path):
    peer, net = peer_and_net('PyramidNet-20 a48')
    torch.save(peer.state_dict(), tmp_path / 'pyramidnet.pth')
    assert Pretrained(str(tmp_path / 'pyramidnet.pth'))(net).share == 1
    assert torch.equal(net.layer3[0].bn3.weight, peer.features.stage3.unit1.bn.weight)


@pytest.mark.parametrize('target', ['torchvision', 'timm', 'mmdet', 'mmpretrain', 'mmpose'])
def test_projects_without_such_nets_have_no_place_for_them(target):
    config = dict(type='inimg_mm.PyramidNet', depth=8, alpha=8)
    with pytest.raises(ValueError, match=rf'{target} has no place for norm.weight; .*pytorchcv.*inimg_mm'):
        from_native(MODELS.build(config).state_dict(), target)


@pytest.mark.parametrize('config', [
    dict(type='PreActResNet', depth=8, input_norm=True),
    dict(type='PreActResNet', depth=50, avg_down=True, **SMALL),
    dict(type='ResNet', depth=50, deep_stem=True, **SMALL),
    dict(type='WideResNet', depth=10, widen_factor=1, attention=dict(type='CMPESE')),
], ids=['input norm', 'pools', 'deep stem', 'gates'])  # fmt: skip
def test_what_pytorchcv_has_no_place_for(config):
    net = MODELS.build(dict(config, type=f'inimg_mm.{config["type"]}'))
    with pytest.raises(ValueError, match=r'^pytorchcv has no place for \S+; layouts that have: .*inimg_mm'):
        from_native(net.state_dict(), 'pytorchcv')
