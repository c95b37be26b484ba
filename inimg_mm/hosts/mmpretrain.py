"""mmpretrain: classes."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.device import get_device

from inimg_mm.config_tree import type_name
from inimg_mm.drawing import Instance

from .host import Host, Size, size_of_pipeline
from .inferencer import Inferencer, Loaded, Sample

SMALL_IMAGES = {'CIFAR10': 32, 'CIFAR100': 32, 'SVHN': 32}
"""Height and width in pixels of the images of data sets that no transform has to scale."""


class Classification(Inferencer):
    """mmpretrain: classes."""

    scope = 'mmpretrain'
    score_thr = 0.0
    shortest = 256
    """Pixels that the shorter side of a picture has at least, so that text can be read."""

    def build(self, cfg: Config, weights: str, device: str) -> Any:
        """Build the inferencer."""
        from mmpretrain import ImageClassificationInferencer
        from mmpretrain.visualization import UniversalVisualizer

        self.visualizer = UniversalVisualizer()
        return ImageClassificationInferencer(cfg, weights, device)

    def prepare(self, image: Loaded) -> Any:
        """Put an image through the rest of the test pipeline."""
        return self.inferencer.pipeline(copy.copy(image))

    def forward(self, items: list[Any]) -> list[Sample]:
        """Predict on prepared images."""
        return self.inferencer.forward(default_collate(items))

    def drawn(self, picture: np.ndarray, sample: Sample, score_thr: float) -> np.ndarray:
        """Draw on a picture."""
        sure = float(sample.pred_score.max()) >= score_thr
        height, width = picture.shape[:2]
        return self.visualizer.visualize_cls(
            picture,
            sample,
            classes=self.meta['classes'],
            resize=max(min(height, width), self.shortest),
            draw_gt=False,
            draw_pred=sure,
        )


def truth(info: dict[str, Any], names: Sequence[str]) -> list[Instance]:
    """The annotated objects, see :class:`.Host`."""
    return [Instance(int(label), names[label]) for label in np.ravel(info['gt_label'])]


def predicted(output: Any, names: Sequence[str]) -> list[Instance]:
    """The predicted objects, see :class:`.Host`."""
    label = int(output.pred_label.ravel()[0])
    return [Instance(label, names[label], float(output.pred_score[label]))]


def drawing(folder: str) -> dict[str, Any]:
    """The lines of a config by which a test draws its pictures."""
    hook = dict(type='VisualizationHook', enable=True, interval=1, out_dir=folder)
    return {'default_hooks.visualization': hook}


def input_size(cfg: Config) -> Size:
    """The crop or scale of the test pipeline (height first), or the size of the data set's images."""
    data = cfg.test_dataloader.dataset
    small = type_name(data) in SMALL_IMAGES and not any('scale' in step for step in data.pipeline)
    size = SMALL_IMAGES[type_name(data)] if small else size_of_pipeline(cfg)
    height, width = (size, size) if isinstance(size, int) else size
    return width, height


def loader(settings: dict[str, Any]) -> dict[str, Any]:
    """What mmpretrain's launch script gives to a data loader."""
    return dict(
        collate_fn=dict(type='default_collate'),
        pin_memory=get_device() != 'cpu',
        persistent_workers=settings.get('num_workers', 0) > 0,
    )


HOST = Host(Classification, drawing, input_size, truth, predicted, loader=loader)
