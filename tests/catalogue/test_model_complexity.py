"""Parameters and multiply-adds of a config's whole model: against real runs, and by hand."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from helpers.nets import count_parameters
from inimg_mm.catalogue.model_complexity import measure_config
from inimg_mm.errors import UsageError
from inimg_mm.hosts import HOSTS
from inimg_mm.hosts.random_batch import random_batch
from inimg_mm.launch import load_config
from inimg_mm.registry import build_model
from inimg_mm.zoo.complexity import measure

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SIZES = {
    'imagenet/scnet50_4xb64_in1k.py': (224, 224),
    'coco_detection/faster-rcnn_scnet50_fpn_1x_coco.py': (1280, 800),
    'coco_keypoint/td-hm_scnet50_8xb64-210e_coco-256x192.py': (192, 256),
    'voc_semantic/fcn_scnet50-d8_4xb4-20k_voc12aug-512x512.py': (512, 512),
    'demo/mask-rcnn_ini-r18_fpn_digits.py': (192, 192),
}


def load(path):
    cfg = Config.fromfile(path)
    pytest.importorskip(cfg.default_scope)
    return cfg


@pytest.mark.parametrize('name', SIZES)
def test_input_size(name):
    cfg = load(CONFIGS / name)
    assert HOSTS[cfg.default_scope].input_size(cfg) == SIZES[name]


def test_input_size_unknown():
    cfg = load(CONFIGS / 'demo' / 'se-r18_digits.py')
    cfg.test_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile')]
    with pytest.raises(UsageError, match='how large the images are'):
        HOSTS[cfg.default_scope].input_size(cfg)


# ---- two stages --------------------------------------------------------------------------------------


def small_detector(name, boxes=12):
    """A demo-sized detector on small images, of which exactly ``boxes`` proposals remain."""
    cfg = load(CONFIGS / 'demo' / name)
    cfg.model.test_cfg.rpn.max_per_img = cfg.model.test_cfg.rcnn.max_per_img = boxes
    cfg.test_dataloader.dataset.pipeline = [dict(type='Resize', scale=(96, 64))]
    return cfg


@pytest.mark.parametrize('name', ['faster-rcnn_cmpese-r18_fpn_digits.py', 'mask-rcnn_ini-r18_fpn_digits.py'])
def test_real_run_of_a_two_stage_detector(name):
    cfg = small_detector(name)
    model = build_model(cfg).eval()
    batch = model.data_preprocessor(random_batch(cfg, (96, 64), batch_size=1))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        ((scores, *_),) = model(**batch, mode='tensor')
    assert scores.shape[0] == 12
    assert measure_config(cfg).macs == counter.get_total_flops() // 2


def test_cascade_runs_every_stage_on_all_boxes():
    """Mask R-CNN and its cascade on one backbone differ by the heads of two more stages."""
    masks, cascade = (
        load(CONFIGS / 'coco_instance' / f'{name}_scnet50_fpn_1x_coco.py')
        for name in ('mask-rcnn', 'cascade-mask-rcnn')
    )
    boxes, detections, channels, hidden, classes = 1000, 100, 256, 1024, 80
    layers = 49 * channels * hidden + hidden * hidden + hidden * (classes + 1)
    plain = boxes * (layers + hidden * 4 * classes)  # boxes of each class
    agnostic = boxes * (layers + hidden * 4)
    convs = 4 * 14 * 14 * channels * channels * 9
    upsampled = 14 * 14 * channels * channels * 4 + 28 * 28 * channels * classes
    mask_head = detections * (convs + upsampled)
    assert measure_config(cascade).macs - measure_config(masks).macs == (3 * agnostic - plain + 2 * mask_head)


# ---- one stage ---------------------------------------------------------------------------------------


def test_retinanet_by_hand():
    """Beside the backbone: a pyramid of five maps, and two towers of four convolutions on each."""
    cfg = load(CONFIGS / 'coco_detection' / 'retinanet_scnet50_fpn_1x_coco.py')
    cfg.test_dataloader.dataset.pipeline = [dict(type='Resize', scale=(640, 640))]
    cells = [(640 // stride) ** 2 for stride in (8, 16, 32, 64, 128)]
    laterals = sum(area * channels * 256 for area, channels in zip(cells, (512, 1024, 2048), strict=False))
    pyramid = 9 * 256 * (256 * sum(cells[:3]) + 2048 * cells[3] + 256 * cells[4])
    towers = 9 * 256 * (2 * 4 * 256 + 9 * 80 + 9 * 4) * sum(cells)
    backbone = measure('scnet50', image_size=640, num_classes=0).macs
    assert measure_config(cfg).macs == backbone + laterals + pyramid + towers


@pytest.mark.parametrize('name', ['se-r18_digits.py', 'td-hm_se-r18_digits-96x96.py'])
def test_parameters(name):
    cfg = load_config(CONFIGS / 'demo' / name)
    real = sum(p.numel() for p in build_model(cfg).parameters())
    assert count_parameters(cfg) == measure_config(cfg).params == real
