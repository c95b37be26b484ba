"""Squeeze-and-excitation (Hu et al., arXiv 1709.01507)."""

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from inimg_mm.models.checks import positive_integer

from .base import Gate, hidden_width


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
        init_cfg: mmengine's initialiser config.

    Raises:
        ValueError: If ``reduction`` or ``divisor`` is not a positive integer.
    """

    attribute = 'se_layer'

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        bias: bool = True,
        divisor: int = 1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = _round_width(hidden_width(channels, reduction), divisor)
        self.conv1 = ConvModule(channels, hidden, 1, bias=bias, act_cfg=dict(type='ReLU'))
        self.conv2 = ConvModule(hidden, channels, 1, bias=bias, act_cfg=None)

    @property
    def last_layer(self) -> nn.Module:
        """See :attr:`Gate.last_layer`."""
        return self.conv2.conv

    def excite(self, *means: Tensor) -> Tensor:
        """See :meth:`Gate.excite`; takes one stream."""
        (residual,) = means
        return torch.sigmoid(self.conv2(self.conv1(residual)))


def _round_width(width: int, divisor: int) -> int:
    """The nearest multiple of ``divisor``, one more where that lost over a tenth."""
    positive_integer('divisor', divisor)
    rounded = max(divisor, (width + divisor // 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded
