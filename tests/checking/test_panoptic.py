"""mmdet's Panoptic FPN with a backbone of this package is checked to its end, on images that are made up."""

import pytest

pytest.importorskip('mmdet', reason='the config is of mmdet (extra mm)')

from inimg_mm.checking.config import check_config
from inimg_mm.checking.findings import OK
from inimg_mm.launch import load_config

CONFIG = """
_base_ = 'mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True, type='inimg_mm.SCNet', depth=50, base_channels=16, stem_channels=16, frozen_stages=-1
    ),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=64),
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(in_channels=64, conv_out_channels=64),
    ),
    semantic_head=dict(in_channels=CHANNELS, inner_channels=32),
)
"""


@pytest.fixture
def findings(tmp_path):
    def check(channels):
        path = tmp_path / 'panoptic.py'
        path.write_text(CONFIG.replace('CHANNELS', str(channels)))
        return check_config(load_config(path), size=(64, 64))

    return check


def test_to_its_end(findings):
    found = findings(64)
    assert not [finding for finding in found if finding.fault]
    texts = {(finding.check, finding.text) for finding in found}
    assert ('classes', '80, in the model as in the train_dataloader') in texts
    assert ('stuff classes', '53, in the model as in the train_dataloader') in texts
    assert ('channels', 'model.semantic_head reads 64 of the neck') in texts
    assert found[-1].check == 'step'
    assert found[-1].state is OK


def test_another_number_of_channels(findings):
    fault, stop = (finding for finding in findings(32) if finding.fault)
    assert fault.text == 'model.semantic_head expects 32, and the neck gives [64, 64, 64, 64, 64]'
    assert fault.remedy == 'model.semantic_head.in_channels=64'
    assert stop.text == 'goes no further: its parts do not fit together'
