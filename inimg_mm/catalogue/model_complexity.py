"""Parameters and operations of a config's whole model."""

from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from inimg_mm.errors import UsageError
from inimg_mm.hosts.random_batch import Size, codec
from inimg_mm.registry import build_model
from inimg_mm.zoo.complexity import Complexity, count

COCO_SCALE, COCO_SIZE = (1333, 800), (1280, 800)
"""Images that are scaled to fit the first are measured at the second, as mmdet measures them."""


def measure_config(cfg: Config) -> Complexity:
    """Count what a config's model needs to test one image of :func:`input_size`.

    Nothing is computed: shapes alone run through the net. Parameters are all of the model's, those of
    heads that only training uses included. How many boxes reach the second stage of a two-stage
    detector depends on the image, so the most that the config lets through are counted: the box head of
    every stage on all proposals (``test_cfg.rpn.max_per_img``, 1000 in mmdet's bases), the mask head of
    every stage on all detections (``test_cfg.rcnn.max_per_img``, 100). What is no convolution
    or fully connected layer, such as RoIAlign and non-maximum suppression, counts nothing.

    Args:
        cfg: Config of mmdet, mmpretrain, mmpose (top-down) or mmseg.

    Raises:
        UsageError: If the config does not say how large its images are.
    """
    width, height = input_size(cfg)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = revert_sync_batchnorm(build_model(cfg)).eval()
        image = torch.empty(1, 3, height, width)
        if getattr(model, 'with_roi_head', False):
            return count(model, lambda: _run_two_stages(model, image))
        return count(model, lambda: model(image, None, mode='tensor'))


def count_parameters(cfg: Config) -> int:
    """Count the parameters of a config's model, which takes no memory and a tenth of a second."""
    with torch.device('meta'):
        return sum(p.numel() for p in build_model(cfg).parameters())


def input_size(cfg: Config) -> Size:
    """Width and height in pixels of a test image as a config's model gets it.

    Keypoint models have their codec's, segmenters the crop that they train on, classifiers the
    crop or scale of their test pipeline, and detectors its scale, where COCO's 1333 x 800 is taken
    as 1280 x 800.

    Raises:
        UsageError: If the config does not say.
    """
    if cfg.default_scope == 'mmpose':
        width, height = codec(cfg)['input_size']
        return width, height
    if cfg.default_scope == 'mmseg':
        height, width = _pair((cfg.model.get('data_preprocessor') or {}).get('size') or cfg.get('crop_size'))
        return width, height
    for transform in reversed(cfg.test_dataloader.dataset.pipeline):
        if size := transform.get('crop_size') or transform.get('scale'):
            first, second = _pair(size)
            if cfg.default_scope == 'mmpretrain':  # heights first
                return second, first
            return COCO_SIZE if (first, second) == COCO_SCALE else (first, second)
    raise UsageError('no transform of the test pipeline says how large the images are')


def _pair(size: Any) -> Size:
    if size is None:
        raise UsageError('the segmenter has neither data_preprocessor.size nor crop_size')
    first, second = (size, size) if isinstance(size, int) else size
    return first, second


def _run_two_stages(detector: Any, image: torch.Tensor) -> None:
    """Run the parts of a two-stage detector that have weights."""
    maps = detector.extract_feat(image)
    detector.rpn_head(maps)
    roi_head, limits = detector.roi_head, detector.test_cfg
    _run_heads(roi_head.bbox_head, roi_head.bbox_roi_extractor, limits.rpn.max_per_img)
    if roi_head.with_mask:
        _run_heads(roi_head.mask_head, roi_head.mask_roi_extractor, limits.rcnn.max_per_img)


def _run_heads(heads: Any, extractors: Any, boxes: int) -> None:
    """Run a head, or the head of each stage of a cascade, on the features of that many boxes."""
    cascade = isinstance(heads, nn.ModuleList)
    for head, extractor in zip(heads, extractors, strict=True) if cascade else [(heads, extractors)]:
        height, width = extractor.roi_layers[0].output_size
        head(torch.empty(boxes, extractor.out_channels, height, width))
