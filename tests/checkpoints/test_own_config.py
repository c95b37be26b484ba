"""A checkpoint's own config tells of arguments that change no shape."""

import logging

import pytest
import torch
from mmengine.config import Config

from inimg_mm.checkpoints.own_config import differences, own_config
from inimg_mm.checkpoints.reading import Opened, open_checkpoint
from inimg_mm.registry import MODELS

BASE = dict(type='inimg_mm.ResNet', depth=18, base_channels=16, stem_channels=16)
INNER = dict(type='InnerImaging', streams=2, filters=((1, 1), (2, 1)), fold=16)


def config(**backbone):
    return Config(dict(default_scope='mmengine', model=dict(type='Any', backbone={**BASE, **backbone})))


def opened(cfg):
    return Opened('file.pth', dict(meta=dict(cfg=cfg.pretty_text), state_dict={}))


@pytest.mark.parametrize(
    ('here', 'there', 'lines'),
    [
        (dict(depth=50, style='caffe'), dict(depth=50), ['model.backbone.style']),
        (dict(dilations=(1, 1, 1, 2)), dict(dilations=[1, 1, 1, 1]), ['model.backbone.dilations']),
        (dict(avg_down=True), {}, ['model.backbone.avg_down']),
        (
            dict(attention=INNER | dict(filters=((2, 1), (1, 1)))),
            dict(attention=INNER),
            ['model.backbone.attention.filters'],
        ),
        (
            dict(attention=INNER | dict(aggregate='code')),
            dict(attention=INNER),
            ['model.backbone.attention.aggregate'],
        ),
        (dict(attention=INNER | dict(fold=8)), dict(attention=INNER), ['model.backbone.attention.fold']),
        (
            dict(attention=dict(type='CMPESE', view='pair_2x1')),
            dict(attention=dict(type='CMPESE')),
            ['model.backbone.attention.view'],
        ),
    ],
)
def test_each_is_named(here, there, lines):
    assert [found.line for found in differences(config(**here), opened(config(**there)))] == lines
    assert differences(config(**there), opened(config(**there))) == []


@pytest.mark.parametrize(
    ('here', 'there'),
    [
        (dict(frozen_stages=1, norm_eval=True, with_cp=True), {}),
        (dict(strides=[1, 2, 2, 2], style='pytorch'), {}),
        (dict(type='inimg_mm.SEResNet'), dict(attention=dict(type='SE'))),
        (dict(attention=INNER | dict(reduction=16)), dict(attention=INNER)),
        (dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')), {}),
    ],
    ids=['training', 'defaults', 'family', 'gate', 'file'],
)
def test_what_is_the_same(here, there):
    assert differences(config(**here), opened(config(**there))) == []


FOLDED = dict(type='CMPESE', view='folded_3x3')
WIDE = dict(type='inimg_mm.WideResNet', depth=10, widen_factor=4, base_channels=16)
PYRAMID = dict(type='inimg_mm.PyramidNet', depth=20, alpha=12, base_channels=16)


@pytest.mark.parametrize(
    ('family', 'gates', 'built', 'other'),
    [
        (WIDE, FOLDED, dict(rows=4), 16),
        (WIDE, dict(type='InnerImaging'), dict(rows=4), 16),
        (PYRAMID, FOLDED, dict(width=16, pad=True), dict(width=8, pad=True)),
        (PYRAMID, FOLDED | dict(fold=8), dict(width=8, pad=True), 16),
    ],
)
def test_how_a_family_folds_unless_told(family, gates, built, other):
    """A fold that is left out is what the family makes of it, and not the gate's own default."""

    def of(gates):
        backbone = dict(family, attention=gates)
        return Config(dict(default_scope='mmengine', model=dict(type='Any', backbone=backbone)))

    assert differences(of(gates), opened(of(gates | dict(fold=built)))) == []
    (found,) = differences(of(gates), opened(of(gates | dict(fold=other))))
    assert found.line.startswith('model.backbone.attention.fold')


def test_nothing_is_run():
    """A checkpoint's text is read as values: calls and names in it are left out."""
    text = (
        "model = dict(backbone=dict(depth=18, style=open('x', 'w'), strides=(1, 2)))\nimport os\nos.abort()"
    )
    own = own_config(Opened('x.pth', dict(meta=dict(cfg=text))))
    assert own == dict(model=dict(backbone=dict(depth=18, strides=(1, 2))))
    for broken in ('model = (', None, 3):
        assert own_config(Opened('x.pth', dict(meta=dict(cfg=broken)))) == {}


def test_outputs_differ_where_it_is_said(tmp_path, caplog):
    """The weights of one fit the other in every name and shape, and compute something else."""
    from inimg_mm.checkpoints.fitting import match
    from inimg_mm.checkpoints.own_config import warn_of_differences

    here, there = (
        config(attention=INNER | dict(filters=((2, 1), (2, 1)), fold=fold)) for fold in (None, None)
    )
    here.model.backbone.attention.filters = ((2, 1), (2, 1))
    here.model.backbone.strides, there.model.backbone.dilations = (1, 2, 2, 2), (1, 1, 1, 2)
    nets = [MODELS.build(cfg.model.backbone).eval() for cfg in (here, there)]
    assert match(nets[0].state_dict(), nets[1].state_dict()).share == 1
    nets[0].load_state_dict(nets[1].state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(nets[0](image)[-1], nets[1](image)[-1])
    path = tmp_path / 'trained.pth'
    torch.save(dict(meta=dict(cfg=there.pretty_text), state_dict=nets[1].state_dict()), path)
    with caplog.at_level(logging.WARNING):
        found = differences(here, open_checkpoint(path))
        warn_of_differences(here, open_checkpoint(path))
    assert [difference.option for difference in found] == ['model.backbone.dilations=[1,1,1,2]']
