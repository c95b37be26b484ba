"""Several classifiers on one data set: the mean of their probabilities (arXiv 1512.00567, table 5)."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import track
from torch import Tensor

from inimg_mm.data_files.checks import check_data
from inimg_mm.errors import UsageError
from inimg_mm.host_facts import predicts
from inimg_mm.hosts import HOSTS

from .exclusion import exclude_images
from .multi_crop import mean_scores, scored, use_crops, views_of
from .weights import load_model

Metrics = dict[str, float]


class Ensemble(NamedTuple):
    """What several models together reach.

    Attributes:
        members: The metrics of each model alone, in order.
        together: Those of the mean of their probabilities.
    """

    members: list[Metrics]
    together: Metrics


def evaluate_ensemble(
    members: Sequence[tuple[Config, str]],
    crops: str | None = None,
    exclude: str | Path | None = None,
    trust: bool = False,
) -> Ensemble:
    """Test classifiers alone and together.

    They are tested one after another, each on images as its own test pipeline makes them: in memory is one
    model at a time, and of each image one probability a class. The metrics are the first config's.

    Args:
        members: Configs of mmpretrain, changed in place, and their checkpoints. All test on the same images.
        crops: A key of :data:`.CROPS`; the members' crops have their own sizes.
        exclude: See :func:`.exclude_images`.
        trust: Accept checkpoints that need unpickling.

    Raises:
        UsageError: If a config is of another host, the data is missing, a checkpoint is of another model, or
            the models have not the same images and classes.
        CheckpointError: If a checkpoint is missing, damaged, or would run code.
    """
    for cfg, _ in members:
        if predicts(cfg.default_scope) != 'classes':
            raise UsageError(f'an ensemble is made of models of mmpretrain, not of {cfg.default_scope}')
        check_data(cfg, ['test_dataloader'])
        if crops is not None:
            use_crops(cfg, crops)
    if exclude is not None:
        exclude_images(members[0][0], exclude)
    found: list[Metrics] = []
    samples: list[Any] = []
    total: Tensor | float = 0.0
    with DefaultScope.overwrite_default_scope(members[0][0].default_scope):
        evaluator = Evaluator(members[0][0].test_evaluator)
        for number, (cfg, checkpoint) in enumerate(members, 1):
            own, scores, meta = _scores(cfg, checkpoint, trust, f'model {number} of {len(members)}')
            samples = samples or own
            _check_same(samples, own, total, scores, checkpoint)
            evaluator.dataset_meta = meta
            found.append(_evaluate(evaluator, samples, scores))
            total = total + scores
        assert isinstance(total, Tensor)
        return Ensemble(found, _evaluate(evaluator, samples, total / len(members)))


def _scores(cfg: Config, checkpoint: str, trust: bool, title: str) -> tuple[list[Any], Tensor, Any]:
    """A config's test samples, their probabilities (N, classes), and what its data set says of itself."""
    model = load_model(cfg, checkpoint, trust)
    settings = copy.deepcopy(cfg.test_dataloader)
    loader = Runner.build_dataloader({**HOSTS[cfg.default_scope].loader(settings), **settings})
    chunk = cfg.test_cfg.get('chunk') or settings.get('batch_size', 1)
    samples: list[Any] = []
    scores = []
    with torch.no_grad():
        for batch in track(loader, title, console=Console(stderr=True)):
            scores.append(mean_scores(model.test_step, views_of(batch), chunk))
            samples.extend(batch['data_samples'])
    return samples, torch.cat(scores), loader.dataset.metainfo


def _check_same(
    samples: list[Any], own: list[Any], total: Tensor | float, scores: Tensor, checkpoint: str
) -> None:
    """Check that a model was tested on the images and classes of those before it."""
    if list(map(_identity, samples)) != list(map(_identity, own)):
        raise UsageError(
            f'{checkpoint} is tested on other images than the models before it, or in another order'
        )
    if isinstance(total, Tensor) and total.shape != scores.shape:
        classes = f'{scores.shape[1]} classes, and the models before it {total.shape[1]}'
        raise UsageError(f'{checkpoint} tells apart {classes}')


def _identity(sample: Any) -> tuple[str, list[int]]:
    """By what the same image is known in two data sets."""
    return Path(sample.get('img_path') or '').name, sample.gt_label.tolist()


def _evaluate(evaluator: Evaluator, samples: Sequence[Any], scores: Tensor) -> Metrics:
    evaluator.process(data_samples=scored(samples, scores))
    return evaluator.evaluate(len(samples))
