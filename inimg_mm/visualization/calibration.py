"""What calibrates a self-calibrated convolution, over the picture (Liu et al., CVPR 2020)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inimg_mm.models.backbones.scconv import SCConv

from .gate_values import stage_of

KEPT = '_calibration_output'
"""Attribute by which a convolution's inner output waits for the end of its call."""


@contextmanager
def recorded_calibration(model: nn.Module) -> Iterator[dict[str, np.ndarray]]:
    """Keep SCNet's calibrations of one image, for as long as the context lasts.

    Yields:
        By stage, of its last block: ``sigmoid(y + up(k2(y)))``, the mean over channels, (h, w).
    """
    found: dict[str, np.ndarray] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, SCConv):
            stage = stage_of(name.removeprefix('backbone.'))
            handles.append(module.register_forward_hook(_keep_calibration(found, stage)))
            handles.append(module.k2.register_forward_hook(_keep_output))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
        for module in model.modules():
            vars(module).pop(KEPT, None)


def _keep_output(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
    vars(module)[KEPT] = output.detach()


def _keep_calibration(found: dict[str, np.ndarray], stage: str) -> Any:
    def keep(module: SCConv, args: tuple[Tensor], output: Tensor) -> None:
        y = args[0].detach()
        inner = F.interpolate(vars(module.k2)[KEPT], y.shape[2:])
        sigmoid = torch.sigmoid(y + inner if module.identity else inner)
        found[stage] = sigmoid[0].float().mean(0).cpu().numpy()

    return keep
