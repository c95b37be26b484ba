"""Squeeze-and-excitation (Hu et al., arXiv 1709.01507)."""

from collections.abc import Callable
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.checks import positive_integer

from .base import Gate, hidden_width

EXCITATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'sigmoid': torch.sigmoid,
    'tanh': torch.tanh,
    'relu': torch.relu,
}
"""What turns the last layer's outputs into weights."""
SQUEEZES = ('avg', 'max', 'none')
"""How a map becomes a value: its mean, its greatest value, or not at all."""


class SE(Gate):
    """The squeeze-and-excitation gate: ``g = sigmoid(W2 relu(W1 u))`` (eq. 2 and 3).

    The two fully connected layers are 1x1 convolutions with the names that
    mmpretrain's ``SELayer`` gives them, so that published weights load.

    Args:
        channels: C of the residual.
        reduction: r of the paper; the code has ``max(C // r, 1)`` values.
        bias: Whether the two layers have biases (the release has them).
        divisor: Round the code's width to a multiple of this, never below 90 % of
            the unrounded width nor below ``divisor``; 1 rounds nothing. timm's small nets use 8.
        excitation: 'sigmoid', or 'tanh' or 'relu' in its place (the paper's ablation).
        init_cfg: mmengine's initialiser config.

    Raises:
        UsageError: If ``reduction`` or ``divisor`` is not a positive integer, or ``excitation`` is unknown.
    """

    attribute = 'se_layer'

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        bias: bool = True,
        divisor: int = 1,
        excitation: str = 'sigmoid',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if excitation not in list(EXCITATIONS):
            raise UsageError(f'excitation must be one of {list(EXCITATIONS)}, got {excitation!r}')
        hidden = _round_width(hidden_width(channels, reduction), divisor)
        self.conv1 = ConvModule(channels, hidden, 1, bias=bias, act_cfg=dict(type='ReLU'))
        self.conv2 = ConvModule(hidden, channels, 1, bias=bias, act_cfg=None)
        self.excitation = excitation
        self.is_sigmoid = excitation == 'sigmoid'

    @property
    def last_layer(self) -> nn.Module:
        """See :attr:`Gate.last_layer`."""
        return self.conv2.conv

    def excite(self, *means: Tensor) -> Tensor:
        """See :meth:`Gate.excite`; takes one stream."""
        (residual,) = means
        return EXCITATIONS[self.excitation](self.conv2(self.conv1(residual)))

    def extra_repr(self) -> str:
        """The excitation, unless it is the paper's."""
        return '' if self.is_sigmoid else f'excitation={self.excitation!r}'


class OtherSqueezeSE(SE):
    """:class:`SE` that squeezes a map to something else than its mean.

    Args:
        channels: C of the residual.
        squeeze: 'max' for each map's greatest value (the paper's ablation), or 'none' for every
            pixel's own weights, (N, C, H, W): 1x1 convolutions without pooling (the paper's "NoSqueeze").
        **options: See :class:`SE`.

    Raises:
        UsageError: As :class:`SE`.
    """

    def __init__(self, channels: int, squeeze: str, **options: Any) -> None:
        super().__init__(channels, **options)
        self.squeeze = squeeze

    def forward(self, residual: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """See :meth:`Gate.forward`."""
        values = residual.amax((2, 3), keepdim=True) if self.squeeze == 'max' else residual
        return self.weigh([values.to(self.dtype)], residual.dtype)

    def extra_repr(self) -> str:
        """The squeeze, and the excitation unless it is the paper's."""
        return ', '.join(filter(None, [f'squeeze={self.squeeze!r}', super().extra_repr()]))


def squeeze_excitation(
    channels: int,
    reduction: int = 16,
    bias: bool = True,
    divisor: int = 1,
    squeeze: str = 'avg',
    excitation: str = 'sigmoid',
) -> SE:
    """Build a squeeze-and-excitation gate, or one of the paper's ablations of it.

    Args:
        channels: C of the residual.
        reduction: See :class:`SE`.
        bias: See :class:`SE`.
        divisor: See :class:`SE`.
        squeeze: 'avg', or what :class:`OtherSqueezeSE` has.
        excitation: See :class:`SE`.

    Raises:
        UsageError: If ``squeeze`` is unknown, or the gate refuses an option.
    """
    options: dict[str, Any] = dict(reduction=reduction, bias=bias, divisor=divisor, excitation=excitation)
    if squeeze not in SQUEEZES:
        raise UsageError(f'squeeze must be one of {list(SQUEEZES)}, got {squeeze!r}')
    return SE(channels, **options) if squeeze == 'avg' else OtherSqueezeSE(channels, squeeze, **options)


def _round_width(width: int, divisor: int) -> int:
    """The nearest multiple of ``divisor``, one more where that lost over a tenth."""
    positive_integer('divisor', divisor)
    rounded = max(divisor, (width + divisor // 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded
