"""Depthwise-separable convolutions in the place of a backbone's square ones."""

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from inimg_mm.config_tree import type_name
from inimg_mm.errors import UsageError
from inimg_mm.registry import MODELS

Size = int | tuple[int, int]
KERNELS = ((3, 3), (5, 5))
"""What becomes separable. A 7x7 is a stem's, and 1x7 and 7x1 of Inception are factors already."""


class SeparableConv2d(BaseModule):
    """A KxK convolution of every channel alone, and a 1x1 convolution over the channels.

    In parameters and in multiply-adds it costs 1/M + 1/K² of the KxK convolution with M output channels
    (g/M + 1/K² in g groups, which the 1x1 convolution keeps). Nothing stands between the two.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, M.
        kernel_size: K.
        stride: Stride of the first of the two.
        padding: Padding of the first.
        dilation: Dilation of the first.
        groups: Groups of the second.
        bias: Whether the second has a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, dilation, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, groups=groups, bias=bias)
        # what mmcv's ConvModule and a family's blocks read of a convolution
        first, second = self.depthwise, self.pointwise
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = first.kernel_size, first.stride, first.dilation
        self.padding, self.output_padding = first.padding, second.output_padding
        self.transposed = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        return self.pointwise(self.depthwise(x))


@MODELS.register_module('SeparableConv')
def separable_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: bool = True,
    **unknown: Any,
) -> nn.Module:
    """The convolution of ``conv_cfg=dict(type='inimg_mm.SeparableConv')``.

    Takes a convolution's arguments. A 3x3 or 5x5 convolution of more than an image's three channels becomes
    a :class:`SeparableConv2d`; every other stays plain. This package's backbones leave their stems out
    (:func:`outside_stems`); a host's deep stem has no such rule.

    Raises:
        UsageError: If the config has options: the layers that it replaces say all.
    """
    if unknown:
        raise UsageError(
            f'SeparableConv has no option {next(iter(unknown))!r}: it takes kernels and strides of the '
            "convolutions that it replaces; write conv_cfg=dict(type='inimg_mm.SeparableConv')"
        )
    height, width = (kernel_size,) * 2 if isinstance(kernel_size, int) else kernel_size
    kernel = (height, width)
    kind = SeparableConv2d if kernel in KERNELS and in_channels > 3 and groups < in_channels else nn.Conv2d
    return kind(in_channels, out_channels, kernel, stride, padding, dilation, groups=groups, bias=bias)


def outside_stems(conv_cfg: dict[str, Any] | None) -> dict[str, Any] | None:
    """The config of a stem's convolutions: plain where the blocks' are separable."""
    is_separable = conv_cfg is not None and type_name(conv_cfg) in ('SeparableConv', 'separable_conv')
    return None if is_separable else conv_cfg
