"""Parameters and operations of a config's whole model."""

from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from inimg_mm.hosts import HOSTS
from inimg_mm.registry import build_model
from inimg_mm.zoo.complexity import Complexity, count


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
    width, height = HOSTS[cfg.default_scope].input_size(cfg)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = revert_sync_batchnorm(build_model(cfg)).eval()
        image = torch.empty(1, 3, height, width)
        if getattr(model, 'with_roi_head', False):
            return count(model, lambda: _run_two_stages(model, image))
        return count(model, lambda: model(image, None, mode='tensor'))


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
