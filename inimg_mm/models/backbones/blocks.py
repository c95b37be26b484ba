"""Residual blocks: one template, with the gate built just before the add."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from inimg_mm.models.attention import Gate, recalibrated_add
from inimg_mm.models.fused import Fused, can_fuse, norm_act, opened, tail, tail_fuses

from .recomputing import checkpointed
from .stages import spatial_conv_cfg
from .tails import gated_in_one, is_gated_in_one, sum_in_place

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
        fused: Whether fused operations stand for its formulas, see :mod:`inimg_mm.models.fused.switch`.
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
    fused: Fused = 'auto'

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


def branch_width(planes: int, base_width: int, groups: int) -> int:
    """Channels of a block's 3x3 convolution: ``int(planes * base_width / 64) * groups``.

    Raises:
        ValueError: If that leaves no channel.
    """
    width = int(planes * base_width / PLAIN_WIDTH) * groups
    if width < 1:
        raise ValueError(
            f'base_width={base_width} leaves no channel in a block of {planes} planes; raise base_width'
        )
    return width


def basic_convolutions(in_channels: int, planes: int, options: BlockOptions) -> list[nn.Module]:
    """Two 3x3 convolutions; the first has the stride and the dilation.

    Raises:
        ValueError: If ``groups``, ``base_width`` or ``dcn`` asks for a form that a basic block does not have.
    """
    for name, plain in (('groups', 1), ('base_width', PLAIN_WIDTH), ('dcn', None)):
        value = getattr(options, name)
        if value != plain:
            raise ValueError(f'{name}={value!r} needs bottleneck blocks; a basic block takes {name}={plain}')
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


class ResidualBlock(BaseModule):
    """The template of every block.

    ``out = activate(shortcut + gate(residual, shortcut) * drop_path(residual))``

    A subclass implements :meth:`branch` and :attr:`last_affine`.

    Args:
        options: What the block is built of.
        downsample: Projects the input to the shortcut; None for an identity.
        gate: Weighs the residual's channels; None for a plain block.
    """

    expansion: ClassVar[int] = 1
    """Channels of the output over the block's planes."""
    rectified: ClassVar[bool] = True
    """Whether a ReLU follows the add."""

    def __init__(
        self, options: BlockOptions, downsample: nn.Module | None = None, gate: Gate | None = None
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.gate_name = None if gate is None else gate.attribute
        if gate is not None:
            self.add_module(gate.attribute, gate)
        rate = options.drop_path_rate
        self.drop_path = DropPath(rate) if rate > 0 else nn.Identity()
        self.with_cp = options.with_cp
        self.fused = options.fused

    @property
    def gate_module(self) -> Gate | None:
        """The block's gate, under whichever name it is held."""
        return self._modules[self.gate_name] if self.gate_name else None

    @property
    @abstractmethod
    def last_affine(self) -> nn.Module:
        """The layer that ends the residual branch; its weight and bias scale the residual."""

    @abstractmethod
    def branch(self, x: Tensor) -> Tensor:
        """The residual branch up to and with its last layer."""

    def paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shortcut and residual of the input ``x``, each (N, C, H, W)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return shortcut, self.branch(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        return self.run(self.output, x)

    def before_norm(self, x: Tensor) -> Tensor | None:
        """The branch without its last norm, where the block ends in that, the add and a ReLU; otherwise None.

        A subclass that changes :meth:`branch` changes this, too.
        """
        return None

    def output(self, x: Tensor) -> Tensor:
        """The block's output, not recomputed; its end is fused where that gives the same numbers."""
        y = self.before_norm(x) if self.rectified and can_fuse(self.fused, x) else None
        if y is None:
            return self.join(*self.paths(x))
        shortcut, norm = opened(self.downsample, x)
        parts = self.last_affine, self.gate_module, self.drop_path
        if tail_fuses(y, shortcut, *parts, self.relu, self.fused):
            return tail(y, shortcut, *parts, norm, self.fused)
        return self.join(shortcut if norm is None else norm(shortcut), self.last_affine(y))

    def run(self, function: Callable[[Tensor], Any], x: Tensor) -> Any:
        """``function(x)``, recomputed in the backward pass where ``with_cp`` asks for it."""
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpointed(self, function, x)
        return function(x)

    def join(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """The output of the block from its two paths, each (N, C, H, W)."""
        gate = self.gate_module
        parts = (self.drop_path, self.relu) if self.rectified else (self.drop_path,)
        if gate is not None and is_gated_in_one(shortcut, residual, gate, *parts):
            return gated_in_one(shortcut, residual, gate, *parts)
        if gate is None and type(self.drop_path) is nn.Identity:
            out = sum_in_place(shortcut, residual, self.last_affine)
        else:
            out = recalibrated_add(shortcut, residual, gate, self.drop_path)
        return self.relu(out) if self.rectified else out

    def add_norm(self, norm_cfg: dict[str, Any], channels: int, postfix: int | str) -> str:
        """Add a norm under the name that mmcv gives it ('bn1' for BN and 1); returns the name."""
        name, norm = build_norm_layer(norm_cfg, channels, postfix=postfix)
        self.add_module(name, norm)
        return name

    def norm(self, number: int | str) -> nn.Module:
        """The norm whose name is in ``norm{number}_name``."""
        return getattr(self, getattr(self, f'norm{number}_name'))

    def start_at_zero(self, name: str) -> None:
        """Initialise the last layer ``name`` with zero, so that the block starts as an identity.

        One that does not learn (``norm_cfg=dict(type='BN', requires_grad=False)``) keeps its start: it would
        leave the residual at zero for ever.
        """
        if any(parameter.requires_grad for parameter in getattr(self, name).parameters()):
            self.init_cfg = dict(type='Constant', val=0, override=dict(name=name))


class ConvNormBlock(ResidualBlock):
    """Convolutions ``conv1``, ``conv2``, …, each followed by its norm, with ReLUs between them.

    Args:
        in_channels: Channels of the input.
        planes: The output has ``planes * expansion`` channels.
        options: What the block is built of.
        **paths: ``downsample`` and ``gate`` of :class:`ResidualBlock`.
    """

    def __init__(self, in_channels: int, planes: int, options: BlockOptions, **paths: Any) -> None:
        super().__init__(options, **paths)
        convs: list[Any] = self.convolutions(in_channels, planes, options)
        for number, conv in enumerate(convs, start=1):
            self.add_module(f'conv{number}', conv)
            setattr(self, f'norm{number}_name', self.add_norm(options.norm_cfg, conv.out_channels, number))
        self.depth = len(convs)
        if options.zero_init_residual:
            self.start_at_zero(getattr(self, f'norm{self.depth}_name'))

    @staticmethod
    @abstractmethod
    def convolutions(in_channels: int, planes: int, options: BlockOptions) -> list[nn.Module]:
        """The convolutions of the residual branch."""

    def init_weights(self) -> None:
        """Initialise once; the offsets of a deformable convolution start at zero."""
        first = not self.is_init
        super().init_weights()
        if first and hasattr(self.conv2, 'init_offset'):  # DCN; DCNv2 does so by itself
            self.conv2.init_offset()

    @property
    def last_affine(self) -> nn.Module:
        """See :attr:`ResidualBlock.last_affine`."""
        return self.norm(self.depth)

    def branch(self, x: Tensor) -> Tensor:
        """See :meth:`ResidualBlock.branch`."""
        return self.last_affine(self.before_norm(x))

    def before_norm(self, x: Tensor) -> Tensor:
        """See :meth:`ResidualBlock.before_norm`."""
        for number in range(1, self.depth):
            y = getattr(self, f'conv{number}')(x)
            x = norm_act(y, self.norm(number), self.relu, self.fused)
        return getattr(self, f'conv{self.depth}')(x)


class BasicBlock(ConvNormBlock):
    """Two 3x3 convolutions (ResNet-18 and -34), see :func:`basic_convolutions`."""

    convolutions = staticmethod(basic_convolutions)


class Bottleneck(ConvNormBlock):
    """1x1, 3x3, 1x1 convolutions (ResNet-50 and deeper, ResNeXt), see :func:`bottleneck_convolutions`."""

    expansion = 4
    convolutions = staticmethod(bottleneck_convolutions)
