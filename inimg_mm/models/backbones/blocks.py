"""Residual blocks: one template, with the gate built just before the add."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.attention import AFTER_3X3, IDENTITY, POST, PRE, STANDARD, Gate, recalibrated_add
from inimg_mm.models.eager import is_eager
from inimg_mm.models.fused import can_fuse, made_again, norm_act, opened, tail, tail_fuses

from .block_options import BlockOptions, basic_convolutions, bottleneck_convolutions, branch_width
from .recomputing import checkpointed
from .tails import NormedFrom, can_be_replaced, gated_in_one, is_gated_in_one, normed, sum_in_place

FUSED_POSITIONS = (STANDARD, AFTER_3X3)
"""Where a gate may stand in a block whose end is fused."""
TEMPLATE = {'before_norm', 'branch', 'paths', 'join'}
"""What says what a block computes; a subclass that changes some of it, not the first, is called as it is."""


class ResidualBlock(BaseModule):
    """The template of every block.

    ``out = activate(shortcut + gate(residual, shortcut) * drop_path(residual))``

    A gate in another place than the standard one weighs what is there instead, see :data:`.STANDARD`.
    A subclass implements :meth:`branch` and :attr:`last_affine`.

    Args:
        options: What the block is built of.
        downsample: Projects the input to the shortcut; None for an identity.
        gate: Weighs the residual's channels; None for a plain block.
    """

    expansion: ClassVar[int] = 1
    """Channels of the output over the block's planes."""
    gate_positions: ClassVar[tuple[str, ...]] = (STANDARD, PRE, POST, IDENTITY)
    """Where its gate can stand."""
    rectified: ClassVar[bool] = True
    """Whether a ReLU follows the add."""
    ends_in_norm: ClassVar[bool] = False
    """Whether the branch is :attr:`before_norm` and :attr:`last_affine`, a norm; see :data:`TEMPLATE`."""
    before_norm: Callable[[Tensor], Tensor]
    """The branch without its last norm: a method of the blocks that end in one."""

    def __init__(
        self, options: BlockOptions, downsample: nn.Module | None = None, gate: Gate | None = None
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.gate_name = None if gate is None else gate.attribute
        self.gate_position = options.gate_position
        if gate is not None:
            self.add_module(gate.attribute, gate)
        rate = options.drop_path_rate
        self.drop_path = DropPath(rate) if rate > 0 else nn.Identity()
        self.with_cp = options.with_cp
        self.fused, self.recompute = options.fused, options.recompute

    @classmethod
    def gated_channels(cls, in_channels: int, planes: int, options: BlockOptions) -> int:
        """Channels of the maps that the gate of such a block weighs."""
        elsewhere = {PRE: in_channels, AFTER_3X3: branch_width(planes, options.base_width, options.groups)}
        return elsewhere.get(options.gate_position, planes * cls.expansion)

    @property
    def gate_module(self) -> Gate | None:
        """The gate on the residual just before the sum, under whichever name it is held."""
        return self.gate_at(STANDARD)

    def gate_at(self, position: str) -> Gate | None:
        """The block's gate if it stands at ``position``."""
        return self._modules[self.gate_name] if self.gate_name and self.gate_position == position else None

    def weighed_at(self, position: str, x: Tensor) -> Tensor:
        """``x`` as it goes on from ``position``: weighed where the gate stands there."""
        gate = self.gate_at(position)
        return x if gate is None else x * gate(x)

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
        return self.weighed_at(IDENTITY, shortcut), self.branch(self.weighed_at(PRE, x))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        return self.run(self.output, x)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if TEMPLATE & set(vars(cls)):
            cls.ends_in_norm = 'before_norm' in vars(cls)

    def output(self, x: Tensor) -> Tensor:
        """The block's output, not recomputed; its end is fused where that gives the same numbers."""
        fits = self.ends_in_norm and self.rectified and self.gate_position in FUSED_POSITIONS
        fused = fits and can_fuse(self.fused, x)
        if not (fused or (fits and self._keeps_less(x))):
            return self.weighed_at(POST, self.join(*self.paths(x)))
        y = self.before_norm(x)
        shortcut, norm = opened(self.downsample, x)
        parts = self.last_affine, self.gate_module, self.drop_path
        if fused and tail_fuses(y, shortcut, *parts, self.relu, self.fused):
            return tail(y, shortcut, *parts, norm, self.fused, self.recompute)
        shortcut = shortcut if norm is None else norm(shortcut)
        if can_be_replaced(self.last_affine, y):
            return self.join(shortcut, *normed(self.last_affine, y))
        return self.join(shortcut, self.last_affine(y))

    def _keeps_less(self, x: Tensor) -> bool:
        """Whether a gate on a CPU needs no map of its own."""
        return x.device.type == 'cpu' and self.gate_module is not None and is_eager(x)

    def run(self, function: Callable[[Tensor], Any], x: Tensor) -> Any:
        """``function(x)``, recomputed in the backward pass where ``with_cp`` asks for it."""
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpointed(self, function, x)
        return function(x)

    def join(self, shortcut: Tensor, residual: Tensor, source: NormedFrom | None = None) -> Tensor:
        """The output of the block from its two paths, each (N, C, H, W).

        With a ``source`` the residual's memory is given to the output.
        """
        gate = self.gate_module
        relu = self.relu if self.rectified else None
        if gate is not None and is_gated_in_one(shortcut, residual, gate, self.drop_path, relu):
            return gated_in_one(shortcut, residual, gate, self.drop_path, relu, source)
        if gate is None and type(self.drop_path) is nn.Identity:
            out = sum_in_place(shortcut, residual, self.last_affine)
        else:
            out = recalibrated_add(shortcut, residual, gate, self.drop_path)
        return self.relu(out) if self.rectified else out

    def extra_repr(self) -> str:
        """Where the gate stands, unless in its standard place."""
        return f'gate_position={self.gate_position!r}' if self.gate_position != STANDARD else ''

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

        Raises:
            UsageError: If that layer is several, which would all be zero and never learn.
        """
        layer = getattr(self, name)
        if not hasattr(layer, 'weight'):
            raise UsageError(
                f'zero_init_residual=True: {type(layer).__name__} ends the branch, and is several layers; '
                'zero_init_residual=False'
            )
        if any(parameter.requires_grad for parameter in layer.parameters()):
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
            # a projection would keep the block's input, too
            with made_again(x, self.recompute and (number > 1 or self.downsample is None)):
                y = getattr(self, f'conv{number}')(x)
            x = norm_act(y, self.norm(number), self.relu, self.fused)
        x = self.weighed_at(AFTER_3X3, x)
        with made_again(x, self.recompute):
            return getattr(self, f'conv{self.depth}')(x)


class BasicBlock(ConvNormBlock):
    """Two 3x3 convolutions (ResNet-18 and -34), see :func:`basic_convolutions`."""

    convolutions = staticmethod(basic_convolutions)


class Bottleneck(ConvNormBlock):
    """1x1, 3x3, 1x1 convolutions (ResNet-50 and deeper, ResNeXt), see :func:`bottleneck_convolutions`."""

    expansion = 4
    gate_positions = (*ConvNormBlock.gate_positions, AFTER_3X3)
    convolutions = staticmethod(bottleneck_convolutions)
