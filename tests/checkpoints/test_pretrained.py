"""The initialiser loads what it should, says so, and is not overwritten; or it stops and changes nothing."""

import logging
import re

import pytest
import torch
from mmengine.model import PretrainedInit

from helpers.nets import ALL_MODELS, randomise, tiny
from helpers.pretrained import assert_refused, assert_same, build_detector, initialised, save
from inimg_mm.checkpoints import Pretrained, from_native
from inimg_mm.checkpoints import pretrained as module_of_pretrained

TYPES = ['inimg_mm.Pretrained', 'Pretrained', PretrainedInit]


@pytest.fixture
def lines(monkeypatch):
    """What is printed."""
    printed = []
    monkeypatch.setattr(module_of_pretrained, 'print_log', lambda line, **options: printed.append(line))
    return printed


# ---- what is loaded stays -----------------------------------------------------------------------------


@pytest.mark.parametrize('name', ALL_MODELS)
def test_every_family(name, tmp_path, lines):
    source = randomise(tiny(name))
    path = save(tmp_path, source)
    for how in TYPES:
        net = initialised(name, path, how=how)
        assert_same(net, source.state_dict())
        net.init_weights()  # mmengine's second call
        assert_same(net, source.state_dict())
    total = len([key for key in source.state_dict() if not key.endswith('num_batches_tracked')])
    assert lines == [f'loaded {path} (inimg_mm names): {total} of {total} tensors (100.0%)'] * 3


def test_mmengines_initialisation_after_a_call_of_ones_own(tmp_path):
    source = randomise(tiny('seresnet18'))
    net = tiny('seresnet18')
    Pretrained(save(tmp_path, source))(net)
    net.init_weights()
    assert_same(net, source.state_dict())


def test_one_of_several_initialisers(tmp_path):
    source = randomise(tiny('seresnet18'))
    loading = dict(type='Pretrained', checkpoint=save(tmp_path, source))
    net = tiny('seresnet18', init_cfg=[dict(type='Kaiming', layer='Conv2d'), loading])
    net.init_weights()
    assert_same(net, source.state_dict())


def test_batch_counters_come_along(tmp_path):
    source = randomise(tiny('resnet18')).train()
    source(torch.randn(2, 3, 32, 32))
    assert initialised('resnet18', save(tmp_path, source)).bn1.num_batches_tracked == 1
    without = {key: value for key, value in source.state_dict().items() if 'tracked' not in key}
    assert initialised('resnet18', save(tmp_path, without)).bn1.num_batches_tracked == 0


def test_later_initialisation_of_a_detector(tmp_path, lines):
    source = randomise(tiny('seresnet18'))
    for how in TYPES:
        detector = build_detector(small_detector(dict(type=how, checkpoint=save(tmp_path, source))))
        for _ in range(2):
            detector.init_weights()
            assert_same(detector.backbone, source.state_dict())
    assert len(lines) == 3


def small_detector(init_cfg, whole=None):
    return dict(
        type='RetinaNet',
        backbone=dict(
            type='inimg_mm.SEResNet', depth=18, base_channels=16, stem_channels=16, init_cfg=init_cfg
        ),
        neck=dict(type='FPN', in_channels=[16, 32, 64, 128], out_channels=8, num_outs=5),
        bbox_head=dict(type='RetinaHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1),
        init_cfg=whole,
    )


def test_a_whole_models_file_fills_the_whole_model(tmp_path, lines):
    source = randomise(build_detector(small_detector(None)))
    path = save(tmp_path, source)
    whole = dict(type='inimg_mm.Pretrained', checkpoint=path)
    detector = build_detector(small_detector(None, whole=whole))
    detector.init_weights()
    assert_same(detector, source.state_dict())
    # and its backbone alone
    net = initialised('seresnet18', path)
    assert_same(net, source.backbone.state_dict())
    assert re.search(r'\(100\.0%\)$', lines[0])


@pytest.mark.parametrize(
    ('host', 'name', 'layouts'),
    [
        ('mmdet', 'ResNet', ['torchvision']),
        ('mmdet', 'ResNetV1d', ['mmdet', 'mmpretrain', 'inimg_mm']),
        ('mmpretrain', 'ResNetV1d', ['mmdet', 'mmpretrain', 'inimg_mm']),
        ('mmpretrain', 'SEResNet', ['timm', 'timm_legacy', 'mmpretrain']),
        ('mmpose', 'SCNet', ['mmpose', 'scnet_authors']),
    ],
)
def test_a_hosts_own_backbone(host, name, layouts, tmp_path):
    backbones = pytest.importorskip(f'{host}.models.backbones')
    models = {
        'ResNet': 'resnet50',
        'ResNetV1d': 'resnet50_v1d',
        'SEResNet': 'seresnet50',
        'SCNet': 'scnet50',
    }
    rounded = dict(attention=dict(divisor=8)) if name == 'SEResNet' else {}  # as mmpretrain has it
    source = randomise(tiny(models[name], **rounded))
    for layout in layouts:
        path = save(tmp_path, from_native(source.state_dict(), layout))
        net = getattr(backbones, name)(
            depth=50,
            base_channels=16,
            stem_channels=16,
            init_cfg=dict(type='inimg_mm.Pretrained', checkpoint=path),
        )
        for _ in range(2):
            net.init_weights()
            assert_same(net, from_native(source.state_dict(), host))


# ---- whose file, and how much of it -------------------------------------------------------------------


def test_other_names_and_a_classifier(tmp_path, lines):
    source = randomise(tiny('seresnet18', attention=dict(divisor=8)))
    theirs = from_native(source.state_dict(), 'timm')
    extra = {'fc.weight': torch.zeros(3, 2), 'fc.bias': torch.zeros(3)}
    net = initialised('seresnet18', save(tmp_path, theirs, **extra), attention=dict(divisor=8))
    assert_same(net, source.state_dict())
    assert re.search(r'\(timm names\): (\d+) of \1 tensors \(100\.0%\); unexpected: 2 fc\.\*$', lines[0])
    path = save(tmp_path, theirs, name='named.pth')
    assert_same(
        initialised('seresnet18', path, source='timm', attention=dict(divisor=8)), source.state_dict()
    )
    assert_refused(tiny('seresnet18'), path, r'names\) does not fit this SEResNet', source='mmdet')
    # without the option that timm's small nets need, the message names it
    assert_refused(tiny('seresnet18'), path, r'of another shape: \d+, e\.g\. .*attention=dict\(divisor=8\)')


def test_share(tmp_path, lines):
    source = randomise(tiny('resnet18')).state_dict()
    for name in ('layer4.1.conv2.weight', 'layer4.1.bn2.weight', 'bn1.bias'):
        del source[name]
    path = save(tmp_path, source, **{'neck.weight': torch.ones(1)})
    net, total = tiny('resnet18'), 100
    assert total == len([name for name in net.state_dict() if 'tracked' not in name])
    says = r'97 of 100 tensors \(97\.0%\); missing: 2 layer4\.\*, 1 bn1\.\*; unexpected: 1 neck\.\*'
    assert_refused(net, path, rf'{says}\. min_loaded=0\.99 wants more\.')
    assert_refused(net, path, says, min_loaded=0.971)
    assert Pretrained(path, min_loaded=0.97)(net).share == 0.97
    assert re.search(f'{says}$', lines[0])
    assert torch.equal(net.layer4[0].conv1.weight, source['layer4.0.conv1.weight'])


def test_a_stem_for_other_images_is_a_warning(tmp_path, monkeypatch):
    source, said = randomise(tiny('resnet18')), []
    monkeypatch.setattr(
        module_of_pretrained, 'print_log', lambda line, logger, level: said.append((line, level))
    )
    net = initialised('resnet18', save(tmp_path, source), in_channels=1)
    ((line, level),) = said
    assert level == logging.WARNING
    assert line.endswith(
        '; of another shape: 1, e.g. conv1.weight is (16, 3, 7, 7) and should be (16, 1, 7, 7)'
    )
    assert torch.equal(net.layer1[0].conv1.weight, source.layer1[0].conv1.weight)


@pytest.mark.parametrize('out_indices', [(0,), (1, 2)], ids=str)
def test_nets_that_stop_early(tmp_path, lines, out_indices):
    source = randomise(tiny('scnet50_v1d'))
    net = initialised('scnet50_v1d', save(tmp_path, source), out_indices=out_indices)
    assert_same(net, source.state_dict())
    assert re.search(r'unexpected: \d+ layer4\.\*' if out_indices[-1] == 2 else r', \d+ layer2\.\*', lines[0])


def test_offsets_of_deformable_convolutions_are_excused(tmp_path, lines):
    pytest.importorskip('mmcv.ops', exc_type=ImportError)
    source = randomise(tiny('resnet50'))
    dcn = dict(dcn=dict(type='DCNv2', deform_groups=1), stage_with_dcn=(False, False, False, True))
    net = initialised('resnet50', save(tmp_path, source), **dcn)
    offsets = [name for name in net.state_dict() if 'conv_offset' in name]
    assert len(offsets) == 6
    assert not any(net.state_dict()[name].any() for name in offsets)
    assert lines[0].endswith('(100.0%); 6 offsets of deformable convolutions start at zero')
