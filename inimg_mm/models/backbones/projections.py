"""Shortcuts: how a block's input reaches the add."""

from typing import Any

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import Sequential
from torch import Tensor, nn
from torch.nn import functional as F


def projection(
    in_channels: int,
    channels: int,
    stride: int,
    avg_down: bool,
    conv_cfg: dict[str, Any] | None,
    norm_cfg: dict[str, Any] | None,
) -> nn.Module | None:
    """A 1x1 convolution and norm where the shape changes, None where it does not.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the block's output.
        stride: Stride of the block.
        avg_down: Average the input (window and step ``stride``, ``ceil_mode``, padding not
            counted) before a convolution of stride 1. The pool keeps its place in the
            sequence at stride 1, so that names do not depend on the stride.
        conv_cfg: Config of the convolution.
        norm_cfg: Config of the norm; None for no norm.
    """
    if stride == 1 and in_channels == channels:
        return None
    layers: list[nn.Module] = []
    if avg_down:
        layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        stride = 1
    layers.append(build_conv_layer(conv_cfg, in_channels, channels, 1, stride=stride, bias=False))
    if norm_cfg is not None:
        layers.append(build_norm_layer(norm_cfg, channels)[1])
    return Sequential(*layers)


class PaddedShortcut(nn.Module):
    """PyramidNet's shortcut without parameters: an average pool, and zeros for the channels that are missing.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the block's output, not fewer.
        stride: Stride of the block, and window and step of the pool.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.missing = channels - in_channels
        self.pool = nn.AvgPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        return F.pad(self.pool(x), (0, 0, 0, 0, 0, self.missing))

    def extra_repr(self) -> str:
        """How many channels of zeros are added."""
        return f'missing={self.missing}'
