"""Heatmaps of another size than a keypoint model is to learn are named, with the lines to write."""

import pytest

pytest.importorskip('mmpose', reason='the config is of mmpose (extra pose)')

from helpers.tooling import CONFIGS
from inimg_mm.checking.heatmaps import check_heatmaps
from inimg_mm.checking.outline import Outline
from inimg_mm.checking.remedies import options_of
from inimg_mm.launch import load_config

KEYPOINTS = CONFIGS['td-hm_se-r18_digits-96x96']


def config(size, heatmap):
    """The demo keypoint model on crops of another size, in pixels, width first."""
    cfg = load_config(KEYPOINTS)
    codec = dict(input_size=size, heatmap_size=heatmap)
    cfg.merge_from_dict({'model.head.decoder': codec, 'train_dataloader.dataset.pipeline.5.encoder': codec})
    return cfg


def test_sizes_that_fit():
    assert check_heatmaps(Outline(load_config(KEYPOINTS))) == []
    assert check_heatmaps(Outline(config((64, 96), (16, 24)))) == []


def test_a_side_that_is_no_multiple():
    """48 pixels are two of the last map, which three deconvolutions make 16 of."""
    cfg = config((48, 64), (12, 16))
    (finding,) = check_heatmaps(Outline(cfg))
    assert finding.fault
    assert finding.text == (
        'model.head gives heatmaps of 16x16 for images of 48x64, and its codec makes them of 12x16 '
        '(sides that are multiples of 32 fit: 64x64)'
    )
    cfg.merge_from_dict(options_of(finding.remedy))
    assert check_heatmaps(Outline(cfg)) == []
    assert cfg.train_dataloader.dataset.pipeline[5].encoder.heatmap_size == (16, 16)


def test_a_head_of_another_stride():
    cfg = config((96, 96), (24, 24))
    cfg.merge_from_dict(
        {'model.head.deconv_out_channels': (64, 64), 'model.head.deconv_kernel_sizes': (4, 4)}
    )
    (finding,) = check_heatmaps(Outline(cfg))
    assert 'gives heatmaps of 12x12 for images of 96x96, and its codec makes them of 24x24' in finding.text
    assert 'multiples' not in finding.text
