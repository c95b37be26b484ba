"""The parts of Inception-v3 (arXiv 1512.00567), under torchvision's names."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from inimg_mm.models.attention import Gate
from inimg_mm.models.checks import layer_config

from .recomputing import checkpointed

PADDINGS = ('valid', 'same')
"""What a net does at the border where torchvision's does not pad: nothing, or keep H / stride, rounded up."""
NORM_EPS = 1e-3


def norm_config(norm_cfg: dict[str, Any] | None) -> dict[str, Any]:
    """A norm's config with the net's ``eps``, unless it has its own; BN where there is none.

    Raises:
        UsageError: If it is not a dict with a type that is registered.
    """
    layer_config('norm_cfg', norm_cfg or None, "dict(type='BN')")
    return {'eps': NORM_EPS, **(copy.deepcopy(norm_cfg) if norm_cfg else dict(type='BN'))}


@dataclass(frozen=True)
class Conv:
    """A convolution without bias, its norm and a ReLU.

    Attributes:
        name: What the module that holds it calls it.
        channels: Channels of its output.
        kernel: Height and width.
        stride: Step.
        shrinks: Not padded where the net has ``padding='valid'``.
    """

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    shrinks: bool = False

    def build(
        self, in_channels: int, padding: str, conv_cfg: dict[str, Any] | None, norm_cfg: dict[str, Any]
    ) -> 'ConvNormReLU':
        """Make the module; see :class:`ConvNormReLU`."""
        height, width = self.kernel
        border = (0, 0) if self.shrinks and padding == 'valid' else (height // 2, width // 2)
        return ConvNormReLU(
            in_channels, self.channels, self.kernel, self.stride, border, conv_cfg=conv_cfg, norm_cfg=norm_cfg
        )


class ConvNormReLU(BaseModule):
    """A convolution without bias, its norm and a ReLU; torchvision's ``BasicConv2d``.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        kernel: Height and width.
        stride: Step.
        padding: Rows and columns of zeros on each side.
        conv_cfg: Config of the convolution.
        norm_cfg: Config of the norm; None for a bias instead.
        init_cfg: mmengine's initialiser config.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: tuple[int, int],
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.conv = build_conv_layer(
            conv_cfg, in_channels, channels, kernel, stride=stride, padding=padding, bias=norm_cfg is None
        )
        self.norm_name = None
        if norm_cfg is not None:
            self.norm_name, norm = build_norm_layer(norm_cfg, channels)
            self.add_module(self.norm_name, norm)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H', W')."""
        x = self.conv(x)
        return self.relu(x if self.norm_name is None else getattr(self, self.norm_name)(x))


def max_pool(padding: str) -> nn.MaxPool2d:
    """The 3x3 max pool that halves a map."""
    return nn.MaxPool2d(3, stride=2, padding=0 if padding == 'valid' else 1)


AVERAGE_POOL, MAX_POOL = 'average_pool', 'max_pool'
"""Steps of a branch that are no convolutions."""

Step = Conv | tuple[Conv, ...] | str
"""A convolution, several side by side whose outputs are concatenated, or a pool."""
Branches = tuple[tuple[Step, ...], ...]


def width_after(steps: Iterable[Step], in_channels: int) -> int:
    """Channels of a branch's output."""
    for step in steps:
        if not isinstance(step, str):
            in_channels = sum(conv.channels for conv in _side_by_side(step))
    return in_channels


class MixedBlock(BaseModule):
    """Branches over one input, concatenated, and a gate on that.

    ``out = gate(concat) * concat``: there is no shortcut that a gate could compare with.

    Args:
        in_channels: Channels of the input.
        branches: The steps of each branch, from the input on.
        padding: 'valid' or 'same', for the steps that have a stride.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms.
        gate: Weighs the channels of the concatenation; None for a plain block.
        with_cp: Recompute the block in the backward pass to save memory.
    """

    def __init__(
        self,
        in_channels: int,
        branches: Branches,
        padding: str,
        conv_cfg: dict[str, Any] | None,
        norm_cfg: dict[str, Any],
        gate: Gate | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.branches = [[_names(step) for step in steps] for steps in branches]
        for steps in branches:
            for index, step in enumerate(steps):
                if step == AVERAGE_POOL:
                    self.average_pool = nn.AvgPool2d(3, stride=1, padding=1)
                elif step == MAX_POOL:
                    self.max_pool = max_pool(padding)
                else:
                    width = width_after(steps[:index], in_channels)
                    for conv in _side_by_side(step):
                        self.add_module(conv.name, conv.build(width, padding, conv_cfg, norm_cfg))
        self.gate_name = None if gate is None else gate.attribute
        if gate is not None:
            self.add_module(gate.attribute, gate)
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, C, H / stride, W / stride)."""
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpointed(self, self._forward, x)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self._follow(steps, x) for steps in self.branches], dim=1)
        return x if self.gate_name is None else x * getattr(self, self.gate_name)(x)

    def _follow(self, steps: Sequence[tuple[str, ...]], x: Tensor) -> Tensor:
        for names in steps:
            outputs = [getattr(self, name)(x) for name in names]
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
        return x


def _side_by_side(step: Step) -> tuple[Conv, ...]:
    assert not isinstance(step, str)
    return step if isinstance(step, tuple) else (step,)


def _names(step: Step) -> tuple[str, ...]:
    return (step,) if isinstance(step, str) else tuple(conv.name for conv in _side_by_side(step))


def _halving(name: str, channels: int) -> Conv:
    return Conv(name, channels, (3, 3), stride=2, shrinks=True)


def grid_35(pool_channels: int) -> Branches:
    """The blocks of the 35x35 grid (figure 5 of the paper, with one 5x5 as in the release)."""
    return (
        (Conv('branch1x1', 64),),
        (Conv('branch5x5_1', 48), Conv('branch5x5_2', 64, (5, 5))),
        (Conv('branch3x3dbl_1', 64), Conv('branch3x3dbl_2', 96, (3, 3)), Conv('branch3x3dbl_3', 96, (3, 3))),
        (AVERAGE_POOL, Conv('branch_pool', pool_channels)),
    )


def grid_35_to_17() -> Branches:
    """The block that halves the 35x35 grid (figure 10)."""
    return (
        (_halving('branch3x3', 384),),
        (Conv('branch3x3dbl_1', 64), Conv('branch3x3dbl_2', 96, (3, 3)), _halving('branch3x3dbl_3', 96)),
        (MAX_POOL,),
    )


def grid_17(width: int) -> Branches:
    """The blocks of the 17x17 grid: 7x7 convolutions factorised into 1x7 and 7x1 (figure 6, n = 7)."""
    row, column = (1, 7), (7, 1)
    return (
        (Conv('branch1x1', 192),),
        (
            Conv('branch7x7_1', width),
            Conv('branch7x7_2', width, row),
            Conv('branch7x7_3', 192, column),
        ),
        (
            Conv('branch7x7dbl_1', width),
            Conv('branch7x7dbl_2', width, column),
            Conv('branch7x7dbl_3', width, row),
            Conv('branch7x7dbl_4', width, column),
            Conv('branch7x7dbl_5', 192, row),
        ),
        (AVERAGE_POOL, Conv('branch_pool', 192)),
    )


def grid_17_to_8() -> Branches:
    """The block that halves the 17x17 grid."""
    return (
        (Conv('branch3x3_1', 192), _halving('branch3x3_2', 320)),
        (
            Conv('branch7x7x3_1', 192),
            Conv('branch7x7x3_2', 192, (1, 7)),
            Conv('branch7x7x3_3', 192, (7, 1)),
            _halving('branch7x7x3_4', 192),
        ),
        (MAX_POOL,),
    )


def grid_8() -> Branches:
    """The blocks of the 8x8 grid, whose 1x3 and 3x1 convolutions lie side by side (figure 7)."""
    row, column = (1, 3), (3, 1)
    return (
        (Conv('branch1x1', 320),),
        (Conv('branch3x3_1', 384), (Conv('branch3x3_2a', 384, row), Conv('branch3x3_2b', 384, column))),
        (
            Conv('branch3x3dbl_1', 448),
            Conv('branch3x3dbl_2', 384, (3, 3)),
            (Conv('branch3x3dbl_3a', 384, row), Conv('branch3x3dbl_3b', 384, column)),
        ),
        (AVERAGE_POOL, Conv('branch_pool', 192)),
    )
