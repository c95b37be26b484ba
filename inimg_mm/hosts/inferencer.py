"""The hosts' inferencers, a step at a time: prepare images, predict, draw.

The pixels come from the loader of the config's own test pipeline, and go through the rest of it.
"""

import copy
import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import TRANSFORMS, DefaultScope

from inimg_mm.config_tree import datasets_of, type_name
from inimg_mm.data_files.image_files import as_picture, load_image
from inimg_mm.errors import UsageError
from inimg_mm.predictions import Subject

from .dataset_meta import Meta

Sample = Any
Loaded = dict[str, Any]
"""What a loading transform gives: ``img``, ``img_path``, ``ori_shape`` and more."""

VISUALIZERS = {'mmdet': 'DetLocalVisualizer', 'mmpose': 'PoseLocalVisualizer', 'mmseg': 'SegLocalVisualizer'}


class Inferencer(ABC):
    """A host's inferencer.

    Args:
        cfg: Config of the model.
        weights: File from :func:`.checked_weights`.
        meta: What its data set says of itself.
        device: As torch names it.
        batch_size: Samples that the model is given at once.
    """

    scope: str
    score_thr: float | None = 0.3
    """Default of the least score of what is drawn; None where nothing has a score."""
    needs_loader = False
    """Whether the inferencer looks for the loading transform in the pipeline."""

    def __init__(self, cfg: Config, weights: Path, meta: Meta, device: str, batch_size: int = 1) -> None:
        self.meta, self.batch_size = meta, batch_size
        cfg = plain_config(cfg)
        pipeline = cfg.test_dataloader.dataset.pipeline
        at = next((i for i, step in enumerate(pipeline) if 'LoadImage' in type_name(step)), None)
        if at is None:
            raise UsageError('the test pipeline of the config has no transform that loads an image')
        with self.within():
            self.loader = TRANSFORMS.build(copy.deepcopy(pipeline[at]))
        rest = [step for step in pipeline[at + 1 :] if 'Annotation' not in type_name(step)]
        head = [dict(type='LoadImageFromFile')] if self.needs_loader else []
        cfg.test_dataloader.dataset.pipeline = [*head, *rest]
        if self.scope in VISUALIZERS:
            cfg.visualizer = dict(dict(type=VISUALIZERS[self.scope]) | dict(cfg.get('visualizer') or {}))
            cfg.visualizer.update(name='visualizer', vis_backends=[])
        with self.within(), _quiet():
            self.inferencer = self.build(cfg, str(weights), device)

    def within(self) -> Any:
        """The registries as this host sees them."""
        return DefaultScope.overwrite_default_scope(self.scope)

    @abstractmethod
    def build(self, cfg: Config, weights: str, device: str) -> Any:
        """Build the inferencer."""

    def load(self, path: Path) -> Loaded:
        """Load an image as the config's test pipeline does.

        Raises:
            UnreadableImage: If that is not possible.
        """
        return load_image(path, self.loader)

    def predict(self, images: Sequence[Loaded]) -> list[Sample]:
        """Predict on a batch of images: one data sample for each."""
        with self.within():
            items = [self.prepare(image) for image in images]
            return [sample for group in self.groups(items) for sample in self.forward(group)]

    def prepare(self, image: Loaded) -> Any:
        """Put an image through the rest of the test pipeline."""
        return self.inferencer.pipeline(image['img'])

    def groups(self, items: list[Any]) -> Iterator[list[Any]]:
        """Neighbours that make a batch: of one size, where the host does not pad."""
        start = 0
        for end in range(1, len(items) + 1):
            if end == len(items) or items[end]['inputs'].shape != items[start]['inputs'].shape:
                yield items[start:end]
                start = end

    def forward(self, items: list[Any]) -> list[Sample]:
        """Predict on prepared images."""
        return self.inferencer.forward(self.inferencer.collate_fn(items))

    def draw(self, image: Loaded, sample: Sample, score_thr: float) -> np.ndarray:
        """Draw the predictions of an image: RGB, (H, W, 3)."""
        with self.within():
            return self.drawn(as_picture(image['img']), sample, score_thr)

    @abstractmethod
    def drawn(self, picture: np.ndarray, sample: Sample, score_thr: float) -> np.ndarray:
        """Draw on a picture."""

    def subject(self) -> Subject:
        """What the predictions are about. Categories are numbered from 1, as COCO's are."""
        classes = self.meta['classes']
        return Subject(classes, [dict(id=index, name=name) for index, name in enumerate(classes, 1)])


def plain_config(cfg: Config) -> Config:
    """A copy of a config in which types are strings and the test data set is the innermost one.

    The inferencers compare names of types, do not look behind wrappers, and know collate functions by
    name alone.

    Raises:
        UsageError: If it has no test data.
    """
    cfg = Config(copy.deepcopy(cfg.to_dict()))
    datasets = list(datasets_of((cfg.get('test_dataloader') or {}).get('dataset')))
    if not datasets or not datasets[0].get('pipeline'):
        raise UsageError('the config has no test_dataloader with a pipeline, which images would go through')
    cfg.test_dataloader.dataset = datasets[0]
    if not isinstance(cfg.test_dataloader.get('collate_fn'), str):
        cfg.test_dataloader.pop('collate_fn', None)
    if cfg.get('data_preprocessor'):
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return cfg


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to themselves what the inferencers say of a file that has been checked already."""
    logger = MMLogger.get_current_instance()  # before its stream is taken away
    level = logger.level
    logger.setLevel('ERROR')
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
