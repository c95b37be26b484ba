"""A training batch of random data for a config of any host, in place of its data set."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData

from inimg_mm.config_tree import nodes
from inimg_mm.errors import UsageError

from .host import Size
from .mmpose import codec
from .mmpretrain import input_size


def random_batch(
    cfg: Config, size: Size | None = None, batch_size: int = 2, seed: int = 0
) -> dict[str, list]:
    """Make a batch as the config's training loader gives it, without its data.

    Args:
        cfg: Config of mmdet, mmpretrain, mmpose (top-down, one level) or mmseg; its ``default_scope`` tells.
        size: Width and height of the images. Default: 128x128; classifiers have their test pipeline's where
            it says, keypoint models their codec's.
        batch_size: Number of images.
        seed: Of everything random.

    Returns:
        ``inputs``, a list of (3, H, W) uint8 images, and ``data_samples``, with what the config's
        losses read: boxes and masks of a third of the image, classes, keypoint targets or class maps.

    Raises:
        UsageError: If the host is unknown, the size has no pixels, or a keypoint model has no codec with an
            input size or does not say how many keypoints it has.
    """
    scope = cfg.default_scope
    if scope not in SAMPLES:
        raise UsageError(f'random batches are known for {", ".join(SAMPLES)}, and not for {scope}')
    if size and min(size) < 1:
        raise UsageError(f'images have a width and a height of at least 1 pixel, got {size}')
    if scope == 'mmpose':
        return _poses(cfg, size, batch_size)
    width, height = size or _usual_size(cfg)
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (batch_size, 3, height, width), np.uint8))
    samples = [SAMPLES[scope](cfg, rng, (width, height)) for _ in range(batch_size)]
    for sample in samples:
        shape = (height, width)
        sample.set_metainfo(
            dict(
                img_shape=shape,
                ori_shape=shape,
                pad_shape=shape,
                batch_input_shape=shape,
                scale_factor=(1, 1),
            )
        )
    return dict(inputs=list(images), data_samples=samples)


def _usual_size(cfg: Config) -> Size:
    """A classifier may take images of its own size alone, as one with an auxiliary head or positions does."""
    if cfg.default_scope == 'mmpretrain':
        with suppress(UsageError):
            return input_size(cfg)
    return 128, 128


def _num_classes(cfg: Config) -> int:
    """The least that a head of the model has: every class below it is known to all."""
    return min((node['num_classes'] for node in nodes(cfg.model) if 'num_classes' in node), default=2)


def _detection(cfg: Config, rng: np.random.Generator, size: Size) -> Any:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    width, height = size
    objects = 3
    sides = rng.uniform(0.25, 0.45, (objects, 2)) * size
    corners = rng.uniform(0, 1, (objects, 2)) * (np.array(size) - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    sample = DetDataSample()
    sample.gt_instances = InstanceData(
        bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(rng.integers(0, _num_classes(cfg), objects))
    )
    if any('mask_head' in node for node in nodes(cfg.model)):
        masks = np.zeros((objects, height, width), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.round().astype(int), strict=True):
            mask[top:bottom, left:right] = 1
        sample.gt_instances.masks = BitmapMasks(masks, height, width)
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    return sample


def _classification(cfg: Config, rng: np.random.Generator, size: Size) -> Any:
    from mmpretrain.structures import DataSample

    return DataSample().set_gt_label(int(rng.integers(_num_classes(cfg))))


def _segmentation(cfg: Config, rng: np.random.Generator, size: Size) -> Any:
    from mmseg.structures import SegDataSample

    width, height = size
    classes = torch.from_numpy(rng.integers(0, _num_classes(cfg), (1, height, width)))
    return SegDataSample(gt_sem_seg=PixelData(data=classes))


def _poses(cfg: Config, size: Size | None, batch_size: int) -> dict[str, list]:
    """mmpose's own dummies, with targets in the shape that the codec gives images of this size."""
    from mmpose.testing import get_packed_inputs

    settings = codec(cfg)
    own = settings['input_size']
    width, height = size or own
    heatmap = settings.get('heatmap_size', own)
    return get_packed_inputs(
        batch_size,
        num_keypoints=_num_keypoints(cfg),
        img_shape=(height, width),
        input_size=(width, height),
        heatmap_size=(width * heatmap[0] // own[0], height * heatmap[1] // own[1]),
        simcc_split_ratio=settings.get('simcc_split_ratio', 2.0),
    )


def _num_keypoints(cfg: Config) -> int:
    head = cfg.model.get('head') or {}
    for name in ('out_channels', 'num_keypoints', 'num_joints'):
        if isinstance(head.get(name), int):
            return head[name]
    raise UsageError('the keypoint head does not say how many keypoints it has')


SAMPLES: dict[str, Callable[..., Any]] = {
    'mmdet': _detection,
    'mmpretrain': _classification,
    'mmseg': _segmentation,
    'mmpose': _poses,
}
