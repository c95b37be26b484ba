"""Metrics on a part of a data set: ImageNet's validation images without those that a list leaves out."""

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import BaseMetric

from inimg_mm.errors import UsageError, warn
from inimg_mm.host_facts import predicts
from inimg_mm.registry import METRICS

IMAGENET_NAME = re.compile(r'ILSVRC2012_val_(\d{8})\.')
"""ImageNet's validation images have their numbers in their names, in whichever order they are read."""


def exclude_images(cfg: Config, path: str | Path) -> None:
    """Have a config's test give its metrics twice: of all images, and without those of a list.

    The paper on Inception-v3 leaves out 1,762 of ImageNet's 50,000 validation images.

    Args:
        cfg: Changed in place: each test metric is followed by its :class:`Remaining`.
        path: A text file with the number of an image in each line, from one.

    Raises:
        UsageError: If the file cannot be read, a line is no such number, or the config is not of mmpretrain.
    """
    if predicts(cfg.default_scope) != 'classes':
        raise UsageError(f'images are left out of tests of mmpretrain, not of {cfg.default_scope}')
    read_numbers(path)
    metrics = cfg.test_evaluator
    metrics = list(metrics) if isinstance(metrics, list | tuple) else [metrics]
    cfg.test_evaluator = [
        *metrics,
        *(
            dict(type='inimg_mm.Remaining', metric=copy.deepcopy(metric), exclude=str(path))
            for metric in metrics
        ),
    ]


def read_numbers(path: str | Path) -> frozenset[int]:
    """Read the numbers of images, one a line, from one; empty lines count nothing.

    Raises:
        UsageError: If the file cannot be read, has no number, or a line is none.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f'cannot read the list {path}: {getattr(error, "strerror", "") or error}') from error
    numbers = set()
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not re.fullmatch(r'0*[1-9][0-9]*', line):
            raise UsageError(f'line {number} of {path} is not the number of an image, from 1: {line[:40]!r}')
        if line:
            numbers.add(int(line))
    if not numbers:
        raise UsageError(f'{path} has no number of an image')
    return frozenset(numbers)


@METRICS.register_module()
class Remaining(BaseMetric):
    """A metric of mmpretrain on the images that a list does not leave out; ``…_remaining/`` before its names.

    An image's number is that in its ImageNet name (``ILSVRC2012_val_00000001.JPEG``), else its place in the
    data set, from one.

    Args:
        metric: The metric; it keeps one result of each sample.
        exclude: File of :func:`read_numbers`.
    """

    def __init__(self, metric: dict[str, Any], exclude: str) -> None:
        self.metric = METRICS.build(metric)
        super().__init__(self.metric.collect_device, prefix=f'{self.metric.prefix}_remaining')
        self.exclude = read_numbers(exclude)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep a batch's results with the images' numbers."""
        self.metric.dataset_meta = self.dataset_meta
        for sample in data_samples:
            self.metric.results.clear()
            self.metric.process(data_batch, [sample])
            self.results.append((_number(sample), *self.metric.results))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Compute the metric of what remains."""
        seen = {number for number, _ in results}
        if missing := len(self.exclude - seen):
            warn(f'{missing} of the {len(self.exclude)} images to leave out are not in the data set')
        kept = [result for number, result in results if number not in self.exclude]
        if not kept:
            warn('no image remains: all are on the list of those to leave out')
            return {}
        return self.metric.compute_metrics(kept)


def _number(sample: dict[str, Any]) -> int:
    named = IMAGENET_NAME.search(sample.get('img_path') or '')
    return int(named[1]) if named else int(sample['sample_idx']) + 1
