"""mmpretrain: classes."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import default_collate

from inimg_mm.drawing import Instance

from .inferencer import Host, Loaded, Sample


class Classification(Host):
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


def _class_truth(info: dict[str, Any], names: Sequence[str]) -> list[Instance]:
    return [Instance(int(label), names[label]) for label in np.ravel(info['gt_label'])]


def _class_predicted(output: Any, names: Sequence[str]) -> list[Instance]:
    label = int(output.pred_label.ravel()[0])
    return [Instance(label, names[label], float(output.pred_score[label]))]
