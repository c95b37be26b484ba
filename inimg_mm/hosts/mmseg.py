"""mmseg: class maps."""

from typing import Any

import numpy as np
from mmengine.config import Config

from .inferencer import Host, Sample


class Segmentation(Host):
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
