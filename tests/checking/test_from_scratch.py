"""Stages that are random and kept from learning are named, with the lines to write."""

import pytest
from mmengine.config import Config

from inimg_mm.checking.from_scratch import check_from_scratch

FROZEN = dict(type='inimg_mm.ResNet', depth=18, base_channels=16, frozen_stages=1, norm_eval=True)
FILE = dict(type='Pretrained', checkpoint='resnet18.pth')


def found(backbone, **model):
    cfg = Config(dict(default_scope='mmengine', model=dict(backbone=backbone, **model)))
    return [(finding.text, finding.remedy) for finding in check_from_scratch(cfg)]


def test_what_is_said():
    assert found(FROZEN) == [
        (
            'model.backbone starts from nothing: conv1, bn1, layer1 are random and frozen (frozen_stages=1), '
            'and the statistics of its norms stay 0 and 1 (norm_eval=True)',
            'model.backbone.frozen_stages=-1 model.backbone.norm_eval=False',
        )
    ]


@pytest.mark.parametrize(
    ('options', 'remedy'),
    [
        (dict(frozen_stages=0, norm_eval=False), 'model.backbone.frozen_stages=-1'),
        (dict(frozen_stages=-1), 'model.backbone.norm_eval=False'),
    ],
)
def test_one_of_the_two(options, remedy):
    ((_, written),) = found(FROZEN | options)
    assert written == remedy


@pytest.mark.parametrize(
    ('backbone', 'model'),
    [
        (FROZEN | dict(frozen_stages=-1, norm_eval=False), {}),
        (FROZEN | dict(init_cfg=FILE), {}),
        (FROZEN | dict(init_cfg=[dict(type='Kaiming', layer='Conv2d'), FILE]), {}),
        (FROZEN, dict(init_cfg=FILE)),
        (FROZEN, dict(pretrained='resnet18.pth')),
        (FROZEN | dict(frozen_stages=-1, norm_cfg=dict(type='GN', num_groups=4)), {}),
        (dict(type='mmpretrain.Vig', frozen_stages=0), {}),  # whose own meaning of that is another
    ],
    ids=['learning', 'file', 'file in a list', 'file of the model', 'pretrained', 'no statistics', 'unknown'],
)
def test_nothing_to_say(backbone, model):
    assert found(backbone, **model) == []


def test_a_backbone_inside_a_part():
    cfg = Config(dict(default_scope='mmengine', model=dict(detector=dict(backbone=FROZEN))))
    (finding,) = check_from_scratch(cfg)
    assert finding.remedy.startswith('model.detector.backbone.frozen_stages=-1')
    cfg.model.detector.init_cfg = FILE
    assert check_from_scratch(cfg) == []
