"""mmseg: class maps."""

from typing import Any

import numpy as np
from mmengine.config import Config

from inimg_mm.errors import UsageError

from .host import Host, Size
from .inferencer import Inferencer, Sample


class Segmentation(Inferencer):
    """mmseg: class maps."""

    scope = 'mmseg'
    needs_loader = True
    score_thr = None

    def build(self, cfg: Config, weights: str, device: str) -> Any:
        """Build the inferencer."""
        from mmseg.apis import MMSegInferencer

        names = dict(classes=list(self.meta['classes']), palette=[list(c) for c in self.meta['palette']])
        return MMSegInferencer(cfg, weights, **names, device=device, show_progress=False)

    def drawn(self, picture: np.ndarray, sample: Sample, score_thr: float) -> np.ndarray:
        """Draw on a picture."""
        return self.inferencer.visualize([picture], [sample], return_vis=True, opacity=0.5)[0]


def drawing(folder: str) -> dict[str, Any]:
    """The lines of a config by which a test draws its pictures: here the visualiser knows the folder."""
    return {
        'default_hooks.visualization': dict(type='SegVisualizationHook', draw=True),
        'visualizer': dict(save_dir=folder, vis_backends=[dict(type='LocalVisBackend')]),
    }


def input_size(cfg: Config) -> Size:
    """The crop that the model trains on.

    Raises:
        UsageError: If the config does not say.
    """
    size = (cfg.model.get('data_preprocessor') or {}).get('size') or cfg.get('crop_size')
    if size is None:
        raise UsageError('the segmenter has neither data_preprocessor.size nor crop_size')
    height, width = (size, size) if isinstance(size, int) else size
    return width, height


HOST = Host(Segmentation, drawing, input_size)
