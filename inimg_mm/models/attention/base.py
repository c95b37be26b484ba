"""The contract of a gate, and the addition that it recalibrates."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.checks import positive_integer


class Gate(BaseModule):
    """One weight per channel, from the means of a block's two streams.

    A gate is called as ``gate(residual, shortcut)`` with feature maps of shape
    (N, C, H, W) and returns weights of shape (N, C, 1, 1) in the residual's dtype.
    Its arithmetic is done in the dtype of its own parameters with autocast off:
    under mixed precision that is float32, where means over a map stay finite.

    Subclasses implement :meth:`excite`.
    """

    attribute: ClassVar[str] = 'gate'
    """Name under which a block holds the gate, and so its prefix in a state dict."""
    needs_shortcut: bool = False
    """Whether :meth:`excite` reads the shortcut's means."""
    is_sigmoid: bool = True
    """Whether the weights are a sigmoid of what :attr:`last_layer` gives, and so 1/2 where that is zero."""

    def forward(self, residual: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Weigh the channels of ``residual``.

        Args:
            residual: The residual branch after its last layer, (N, C, H, W).
            shortcut: The projected shortcut, (N, C, H, W); read only where ``needs_shortcut``.

        Returns:
            Weights, (N, C, 1, 1), of the residual's dtype.

        Raises:
            UsageError: If the gate compares both streams and ``shortcut`` is None.
        """
        streams = [residual]
        if self.needs_shortcut:
            if shortcut is None:
                raise no_shortcut_error(type(self).__name__)
            streams.append(shortcut)
        with torch.autocast(residual.device.type, enabled=False):
            means = [stream.mean((2, 3), keepdim=True, dtype=self.dtype) for stream in streams]
        return self.weigh(means, residual.dtype)

    def weigh(self, means: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """Turn the streams' means in the gate's own dtype, see :meth:`excite`, into weights of ``dtype``."""
        with torch.autocast(means[0].device.type, enabled=False):
            return self.excite(*means).to(dtype)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the gate is computed."""
        # under FSDP and in a replica a gate's weights are no parameters, so that parameters() is empty
        return cast(Tensor, self.last_layer.weight).dtype

    @property
    @abstractmethod
    def last_layer(self) -> nn.Module:
        """The layer whose outputs become weights, by a sigmoid unless a gate says otherwise."""

    @abstractmethod
    def excite(self, *means: Tensor) -> Tensor:
        """Turn the streams' means, each (N, C, 1, 1), residual first, into weights (N, C, 1, 1)."""


def no_shortcut_error(name: str, place: str | None = None) -> UsageError:
    """The error of a gate that compares two streams where there is only one."""
    reason = 'and here there is no shortcut'
    if place is not None:
        reason = f"which do not meet in {place}: leave it in position='standard'"
    return UsageError(
        f'{name} compares the residual with the shortcut, {reason}; gates that fit: '
        "type='SE', or type='InnerImaging' with streams=1"
    )


def hidden_width(channels: int, reduction: int) -> int:
    """Width of a gate's code: ``max(channels // reduction, 1)``, without further rounding.

    Raises:
        UsageError: If ``reduction`` is not a positive integer.
    """
    return max(channels // positive_integer('reduction', reduction), 1)


def recalibrated_add(
    shortcut: Tensor, residual: Tensor, gate: nn.Module | None, drop_path: nn.Module
) -> Tensor:
    """``shortcut + gate(residual, shortcut) * drop_path(residual)``; a plain sum without a gate.

    ``addcmul`` does the product and the sum in one walk over the maps.

    Args:
        shortcut: (N, C, H, W).
        residual: (N, C, H, W).
        gate: See :class:`Gate`; None for a plain residual block.
        drop_path: Stochastic depth, or an identity. The gate sees the residual before it.

    Returns:
        (N, C, H, W).
    """
    if gate is None:
        return shortcut + drop_path(residual)
    weight = gate(residual, shortcut)
    return torch.addcmul(shortcut, drop_path(residual), weight)
