"""One outline of a model serves every check of a training's start, and says what one each would say."""

import pytest
import torch

pytest.importorskip('mmpose', reason='the config is of mmpose (extra pose)')

from helpers.tooling import CONFIGS
from inimg_mm.checking import outline
from inimg_mm.checking.channels import misfits
from inimg_mm.checking.heatmaps import check_heatmaps
from inimg_mm.checking.outline import Outline
from inimg_mm.checkpoints.fitting import whole_fit
from inimg_mm.launch import load_config
from inimg_mm.registry import build_model

KEYPOINTS = CONFIGS['td-hm_se-r18_digits-96x96']


def test_one_model_for_all_checks(monkeypatch):
    built = []
    monkeypatch.setattr(outline, 'build_model', lambda cfg: built.append(cfg) or build_model(cfg))
    cfg = load_config(KEYPOINTS, {'model.head.decoder.heatmap_size': (12, 12)})
    one = Outline(cfg)
    fit, _ = whole_fit(one.model, build_model(cfg).state_dict())
    assert fit.share == 1
    assert not fit.unexpected
    assert misfits(one) == []
    (fault,) = check_heatmaps(one)
    assert built == [cfg]
    assert check_heatmaps(Outline(cfg)) == [fault]
    cfg.model.head.in_channels = 64
    (fault,) = misfits(Outline(cfg))
    assert fault.remedy == 'model.head.in_channels=256'
    assert check_heatmaps(Outline(cfg)) == []  # the head does not run


def test_nothing_is_drawn():
    state = torch.random.get_rng_state()
    assert Outline(load_config(KEYPOINTS)).model is not None
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_model_that_cannot_be_built():
    one = Outline(load_config(KEYPOINTS, {'model.head.type': 'NoHead'}))
    assert one.model is None
    assert misfits(one) == check_heatmaps(one) == []
