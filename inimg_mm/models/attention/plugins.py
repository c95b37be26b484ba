"""Gates as mmcv plugin layers, for the hosts' own backbones.

In mmdet's ResNet: ``plugins=[dict(cfg=dict(type='inimg_mm.SE'), position='after_conv3')]``.
A plugin sees only the residual, so the gates are those of one stream.
"""

from typing import Any

from torch import Tensor

from inimg_mm.registry import MODELS

from .base import no_shortcut_error
from .inner_imaging import InnerImaging
from .squeeze_excitation import SE


@MODELS.register_module('SE')
class SEPlugin(SE):
    """:class:`SE` that rescales its input.

    Args:
        in_channels: C.
        **options: See :class:`SE`.
    """

    _abbr_ = 'se_layer'

    def __init__(self, in_channels: int, **options: Any) -> None:
        super().__init__(in_channels, **options)

    def forward(self, residual: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Rescale the channels of ``residual``, (N, C, H, W)."""
        return residual * super().forward(residual)


@MODELS.register_module('InnerImaging')
class InnerImagingPlugin(InnerImaging):
    """Single-stream :class:`InnerImaging` that rescales its input.

    Args:
        in_channels: C. A plugin is not told the block's base width: the default of ``maps``
            is ``in_channels // 16``, so give ``maps`` for a bottleneck's ``planes // 16``.
        **options: See :class:`InnerImaging`; ``streams`` can only be 1.

    Raises:
        UsageError: If ``streams`` is 2.
    """

    _abbr_ = 'gate'

    def __init__(self, in_channels: int, streams: int = 1, **options: Any) -> None:
        if streams == 2:
            raise no_shortcut_error('The plugin layer InnerImaging with streams=2')
        super().__init__(in_channels, streams=streams, **options)

    def forward(self, residual: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Rescale the channels of ``residual``, (N, C, H, W)."""
        return residual * super().forward(residual)
