"""What blocks are built of: their options, widths and convolutions."""

from dataclasses import dataclass, field, replace
from typing import Any

from mmcv.cnn import build_conv_layer
from torch import nn

from inimg_mm.errors import UsageError
from inimg_mm.models.attention import STANDARD
from inimg_mm.models.fused import Fused

from .stages import spatial_conv_cfg

PLAIN_WIDTH = 64
"""The ``base_width`` of a block that is as wide as its planes."""


@dataclass(frozen=True)
class BlockOptions:
    """What a block is built of, its widths, shortcut and gate aside.

    Attributes:
        stride: Stride of the block.
        dilation: Dilation of its 3x3 convolution, the first where it has two.
        groups: Groups of the 3x3 convolution; 1 in a basic block.
        base_width: Width of the 3x3 convolution, see :func:`branch_width`; 64 in a basic block.
        style: A bottleneck's stride is in the 3x3 convolution ('pytorch') or in the first ('caffe').
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms.
        dcn: Config of a deformable 3x3 convolution in a bottleneck instead of ``conv_cfg``'s. With
            ``fallback_on_stride=True`` a strided one stays plain.
        zero_init_residual: Start the block as an identity.
        with_cp: Recompute the block in the backward pass to save memory.
        drop_path_rate: Probability of dropping the residual of a sample.
        gate_position: Where the gate stands, one of the block's ``gate_positions``.
        fused: Whether fused operations stand for its formulas, see :mod:`inimg_mm.models.fused.switch`.
        recompute: Whether these make outputs again instead of keeping them.
    """

    stride: int = 1
    dilation: int = 1
    groups: int = 1
    base_width: int = PLAIN_WIDTH
    style: str = 'pytorch'
    conv_cfg: dict[str, Any] | None = None
    norm_cfg: dict[str, Any] = field(default_factory=lambda: dict(type='BN'))
    dcn: dict[str, Any] | None = None
    zero_init_residual: bool = True
    with_cp: bool = False
    drop_path_rate: float = 0.0
    gate_position: str = STANDARD
    fused: Fused = False
    recompute: bool = False

    def conv1x1(self, in_channels: int, channels: int, stride: int = 1) -> nn.Module:
        """A 1x1 convolution without bias."""
        return build_conv_layer(self.conv_cfg, in_channels, channels, 1, stride=stride, bias=False)

    def conv3x3(self, in_channels: int, channels: int, stride: int = 1) -> nn.Module:
        """The block's 3x3 convolution without bias: dilated, grouped, deformable where asked."""
        return build_conv_layer(
            spatial_conv_cfg(self.conv_cfg, self.dcn, stride),
            in_channels,
            channels,
            3,
            stride=stride,
            padding=self.dilation,
            dilation=self.dilation,
            groups=self.groups,
            bias=False,
        )


def one_width(base_width: int | None, width_per_group: int | None, default: int) -> int:
    """The base width under either of its names, or a family's own.

    Raises:
        UsageError: If both are given and differ.
    """
    given = {width for width in (base_width, width_per_group) if width is not None}
    if len(given) > 1:
        raise UsageError(
            f'base_width={base_width!r} and width_per_group={width_per_group!r} mean the same: '
            'leave one of them out'
        )
    return given.pop() if given else default


def branch_width(planes: int, base_width: int, groups: int) -> int:
    """Channels of a block's 3x3 convolution: ``int(planes * base_width / 64) * groups``.

    Raises:
        UsageError: If that leaves no channel.
    """
    width = int(planes * base_width / PLAIN_WIDTH) * groups
    if width < 1:
        raise UsageError(
            f'base_width={base_width} leaves no channel in a block of {planes} planes; raise base_width'
        )
    return width


def basic_convolutions(in_channels: int, planes: int, options: BlockOptions) -> list[nn.Module]:
    """Two 3x3 convolutions; the first has the stride and the dilation.

    Raises:
        UsageError: If ``groups``, ``base_width`` or ``dcn`` asks for a form that a basic block does not have.
    """
    for name, plain in (('groups', 1), ('base_width', PLAIN_WIDTH), ('dcn', None)):
        value = getattr(options, name)
        if value != plain:
            raise UsageError(f'{name}={value!r} needs bottleneck blocks; a basic block takes {name}={plain}')
    first = options.conv3x3(in_channels, planes, options.stride)
    return [first, replace(options, dilation=1).conv3x3(planes, planes)]


def bottleneck_convolutions(in_channels: int, planes: int, options: BlockOptions) -> list[nn.Module]:
    """1x1, 3x3 and 1x1 convolutions; the output has four times ``planes`` channels."""
    width = branch_width(planes, options.base_width, options.groups)
    first, second = (1, options.stride) if options.style == 'pytorch' else (options.stride, 1)
    return [
        options.conv1x1(in_channels, width, first),
        options.conv3x3(width, width, second),
        options.conv1x1(width, planes * 4),
    ]
