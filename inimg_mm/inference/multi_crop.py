"""Multi-crop evaluation of classifiers (Szegedy et al., arXiv 1512.00567, tables 4 and 5)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.config import Config
from mmengine.runner import TestLoop
from mmengine.runner.amp import autocast
from torch import Tensor

from inimg_mm.config_tree import datasets_of, type_name
from inimg_mm.errors import UsageError
from inimg_mm.host_facts import predicts
from inimg_mm.hosts import HOSTS
from inimg_mm.registry import LOOPS, TRANSFORMS

CROPS = {'10crop': 10, '12crop': 12, '144crop': 144}
"""How many crops an image is seen in."""
SIDES, REFERENCE = (256, 288, 320, 352), 224
"""Shorter sides of the protocol, and the crops of GoogLeNet for which it was written, in pixels."""
GEOMETRY = ('Resize', 'ResizeEdge', 'CenterCrop', 'EfficientNetCenterCrop')
"""Transforms of a test pipeline that scale or crop."""


def shorter_sides(size: int) -> list[int]:
    """To what an image's shorter side is scaled for crops of ``size`` pixels: in the proportions of 224."""
    return [round(side * size / REFERENCE) for side in SIDES]


def crops_of(image: np.ndarray, crops: str, size: int, **resizing: Any) -> Iterator[np.ndarray]:
    """Cut the crops out of an image, one by one.

    * 10: the four corners and the centre of the central square, mirrored too; the first of the shorter sides.
    * 12: these, and the whole square scaled to the crop's size, mirrored too.
    * 144: four shorter sides, three squares each (left or top, centre, right or bottom), 12 of each.

    Args:
        image: (H, W, 3) or (H, W).
        crops: A key of :data:`CROPS`.
        size: Height and width of a crop in pixels.
        **resizing: ``interpolation`` and ``backend`` of ``mmcv.imresize``.

    Yields:
        (size, size, 3) or (size, size); the image and what mirrors it stand side by side.
    """
    several = crops == '144crop'
    for side in shorter_sides(size) if several else shorter_sides(size)[:1]:
        for place in (0.0, 0.5, 1.0) if several else (0.5,):
            square = _square(image, side, place, resizing)
            rest = side - size
            corners = [(0, 0), (0, rest), (rest, 0), (rest, rest), (rest // 2, rest // 2)]
            views = [square[top : top + size, left : left + size] for top, left in corners]
            if crops != '10crop':
                views.append(mmcv.imresize(square, (size, size), **resizing))
            for view in views:
                yield view
                yield view[:, ::-1]


def _square(image: np.ndarray, side: int, place: float, resizing: Mapping[str, Any]) -> np.ndarray:
    """A square of an image whose shorter side is scaled to ``side``; ``place`` from 0 (left, top) to 1."""
    height, width = image.shape[:2]
    shorter = min(height, width)
    height, width = (int(side * length / shorter) for length in (height, width))
    scaled = mmcv.imresize(image, (width, height), **resizing)
    top, left = (int(place * (length - side)) for length in (height, width))
    return scaled[top : top + side, left : left + side]


@TRANSFORMS.register_module()
class MultiCrop(BaseTransform):
    """Make a batch of its crops of an image, in the place of what scales and crops in a test pipeline.

    Args:
        crops: A key of :data:`CROPS`.
        size: Height and width of a crop in pixels.
        pipeline: What follows, for each crop; its last transform packs.
        **resizing: See :func:`crops_of`.
    """

    def __init__(self, crops: str, size: int, pipeline: Sequence[dict[str, Any]], **resizing: Any) -> None:
        self.crops, self.size, self.resizing = crops, size, resizing
        self.rest = Compose(pipeline)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack the image's crops: ``inputs`` is (crops, 3, size, size)."""
        shape = dict(img_shape=(self.size, self.size))
        packed = [
            self.rest({**results, **shape, 'img': np.ascontiguousarray(crop)})
            for crop in crops_of(results['img'], self.crops, self.size, **self.resizing)
        ]
        return {**packed[0], 'inputs': torch.stack([view['inputs'] for view in packed])}


@LOOPS.register_module()
class MultiCropTestLoop(TestLoop):
    """mmengine's test loop on batches of :class:`MultiCrop`: an image's score is the mean over its crops.

    Args:
        chunk: The most crops that the model is given at once.
        **options: See mmengine's ``TestLoop``.
    """

    def __init__(self, *args: Any, chunk: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.chunk = chunk

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict[str, Any]) -> None:
        """Test a batch of images."""
        inputs = views_of(data_batch)
        seen = {**data_batch, 'inputs': inputs[:, 0]}  # hooks know batches of images
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=seen)
        with autocast(enabled=self.fp16):
            scores = mean_scores(self.runner.model.test_step, inputs, self.chunk)
        outputs = scored(data_batch['data_samples'], scores)
        self.evaluator.process(data_samples=outputs, data_batch=seen)
        self.runner.call_hook('after_test_iter', batch_idx=idx, data_batch=seen, outputs=outputs)


def views_of(batch: Mapping[str, Any]) -> Tensor:
    """The views of a batch's images, (N, views, 3, H, W), however they were collated."""
    inputs = batch['inputs']
    inputs = inputs if isinstance(inputs, Tensor) else torch.stack(list(inputs))
    return inputs if inputs.ndim == 5 else inputs[:, None]


def mean_scores(test_step: Callable[[dict[str, Any]], Any], views: Tensor, chunk: int) -> Tensor:
    """Average the classes' probabilities over the views of each image.

    Args:
        test_step: The model's: from ``dict(inputs=…)`` to samples with a ``pred_score``.
        views: (N, views, 3, H, W).
        chunk: The most views that the model is given at once.

    Returns:
        (N, classes), on the CPU.
    """
    scores = torch.cat(
        [
            torch.stack([sample.pred_score.float().cpu() for sample in test_step(dict(inputs=part))])
            for part in views.flatten(0, 1).split(chunk)
        ]
    )
    return scores.unflatten(0, views.shape[:2]).mean(1)


def scored(samples: Sequence[Any], scores: Tensor) -> list[Any]:
    """Give data samples their scores, and the class that has the highest."""
    return [
        sample.set_pred_score(score).set_pred_label(score.argmax(0, keepdim=True))
        for sample, score in zip(samples, scores, strict=True)
    ]


def use_crops(cfg: Config, crops: str) -> None:
    """Have a config test on several crops of each image, whose probabilities are averaged.

    As many crops as the config's test batch has images go through the model at once, whatever the protocol,
    and a loader's batch has no more of them, but at least one image's.

    Args:
        cfg: Config of mmpretrain; changed in place.
        crops: A key of :data:`CROPS`.

    Raises:
        UsageError: If the config is of another host, or its test pipeline does not say how large the images
            are.
    """
    if crops not in CROPS:
        raise UsageError(f'there is no evaluation on {crops!r}; choose from {list(CROPS)}')
    if predicts(cfg.default_scope) != 'classes':
        raise UsageError(f'several crops are classified by models of mmpretrain, not of {cfg.default_scope}')
    width, height = HOSTS[cfg.default_scope].input_size(cfg)
    if width != height:
        raise UsageError(
            f'crops are squares, and the test pipeline makes images of {width} x {height} pixels'
        )
    for dataset in datasets_of(cfg.test_dataloader.dataset):
        dataset['pipeline'] = _with_crops(dataset['pipeline'], crops, width)
    chunk = cfg.test_dataloader.get('batch_size', 1)
    cfg.test_dataloader.batch_size = max(chunk // CROPS[crops], 1)
    cfg.test_cfg = dict(type='inimg_mm.MultiCropTestLoop', chunk=chunk, fp16=cfg.test_cfg.get('fp16', False))


def _with_crops(pipeline: Sequence[dict[str, Any]], crops: str, size: int) -> list[dict[str, Any]]:
    """A test pipeline in which the crops stand for what scales and crops."""
    places = [index for index, step in enumerate(pipeline) if type_name(step) in GEOMETRY]
    if not places:
        raise UsageError(f'the test pipeline has none of {", ".join(GEOMETRY)}, in whose place crops are cut')
    rest = [step for step in pipeline[places[0] :] if type_name(step) not in GEOMETRY]
    scaling = [pipeline[index] for index in places if type_name(pipeline[index]) != 'CenterCrop']
    resizing = {
        key: step[key] for step in scaling[:1] for key in ('interpolation', 'backend') if step.get(key)
    }
    cut = dict(type='inimg_mm.MultiCrop', crops=crops, size=size, pipeline=rest, **resizing)
    return [*pipeline[: places[0]], cut]
