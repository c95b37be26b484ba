"""Blocks that begin with their norm (He et al., arXiv 1603.05027), and stages of them."""

from abc import abstractmethod
from typing import Any, ClassVar

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from inimg_mm.models.attention import STANDARD
from inimg_mm.models.fused import made_again, norm_act

from .blocks import BlockOptions, ResidualBlock, basic_convolutions, bottleneck_convolutions


class NormConvBlock(ResidualBlock):
    """Convolutions ``conv1``, ``conv2``, …, each after its norm and a ReLU; nothing follows the add.

    The first norm and ReLU are the pre-activation, which a projecting shortcut reads, too.

    Args:
        in_channels: Channels of the input.
        planes: The output has ``planes * expansion`` channels.
        options: What the block is built of. A block that starts as an identity has a last layer of zeros.
        dropout: Probability of dropping a value before the last convolution.
        **paths: ``downsample`` and ``gate`` of :class:`.ResidualBlock`.
    """

    rectified = False
    begins_with_relu: ClassVar[bool] = True
    """Whether a ReLU follows the first norm."""
    gate_positions = (STANDARD,)
    ends_in_norm: ClassVar[bool] = False
    """Whether one more norm follows the last convolution."""

    def __init__(
        self, in_channels: int, planes: int, options: BlockOptions, dropout: float = 0.0, **paths: Any
    ) -> None:
        super().__init__(options, **paths)
        convs: list[Any] = self.convolutions(in_channels, planes, options)
        self.depth = len(convs)
        for number, conv in enumerate(convs, start=1):
            setattr(self, f'norm{number}_name', self.add_norm(options.norm_cfg, conv.in_channels, number))
            self.add_module(f'conv{number}', conv)
        last = f'conv{self.depth}'
        if self.ends_in_norm:
            last = self.add_norm(options.norm_cfg, planes * self.expansion, self.depth + 1)
        self.last_name = last
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        if options.zero_init_residual:
            self.start_at_zero(last)

    @staticmethod
    @abstractmethod
    def convolutions(in_channels: int, planes: int, options: BlockOptions) -> list[nn.Module]:
        """The convolutions of the residual branch."""

    @property
    def last_affine(self) -> nn.Module:
        """See :attr:`.ResidualBlock.last_affine`."""
        return getattr(self, self.last_name)

    def preactivate(self, x: Tensor) -> Tensor:
        """What the first convolution reads."""
        return norm_act(x, self.norm(1), self.relu if self.begins_with_relu else None, self.fused)

    def branch(self, x: Tensor) -> Tensor:
        """The residual of a pre-activation."""
        with made_again(x, self.recompute and self.downsample is None):
            x = self.conv1(x)
        for number in range(2, self.depth + 1):
            x = norm_act(x, self.norm(number), self.relu, self.fused)
            if number == self.depth:
                x = self.dropout(x)
            with made_again(x, self.recompute):
                x = getattr(self, f'conv{number}')(x)
        return self.last_affine(x) if self.ends_in_norm else x

    def paths_from(self, x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """Shortcut and residual of the input ``x`` whose pre-activation is ``active``."""
        shortcut = x if self.downsample is None else self.downsample(active)
        return shortcut, self.branch(active)

    def paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`.ResidualBlock.paths`."""
        return self.paths_from(x, self.preactivate(x))

    def forward(self, x: Tensor, with_preactivation: bool = False) -> Any:
        """See :meth:`.ResidualBlock.forward`; ``with_preactivation`` returns what was read beside it."""

        def both(x: Tensor) -> tuple[Tensor, Tensor]:
            active = self.preactivate(x)
            return self.join(*self.paths_from(x, active)), active

        return self.run(both, x) if with_preactivation else super().forward(x)


class PreActBasicBlock(NormConvBlock):
    """Two 3x3 convolutions, see :func:`.basic_convolutions`."""

    convolutions = staticmethod(basic_convolutions)


class PreActBottleneck(NormConvBlock):
    """1x1, 3x3, 1x1 convolutions, see :func:`.bottleneck_convolutions`."""

    expansion = 4
    convolutions = staticmethod(bottleneck_convolutions)


class PreActStage(Sequential):
    """Blocks in a row."""

    def forward(self, x: Tensor, with_preactivation: bool = False) -> Any:
        """See :meth:`NormConvBlock.forward`; the pre-activation is that of the first block."""
        first, *others = self
        active = None
        if with_preactivation:
            x, active = first(x, with_preactivation=True)
        else:
            x = first(x)
        for block in others:
            x = block(x)
        return (x, active) if with_preactivation else x


class PreActivation(BaseModule):
    """The norm with which a block begins, and its ReLU, without the block.

    Args:
        block: The block's class.
        channels: Channels of the input.
        norm_cfg: Config of the norm.
    """

    def __init__(self, block: type[NormConvBlock], channels: int, norm_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.norm_name, norm = build_norm_layer(norm_cfg, channels, postfix=1)
        self.add_module(self.norm_name, norm)
        self.relu = nn.ReLU(inplace=True) if block.begins_with_relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to itself."""
        return self.relu(getattr(self, self.norm_name)(x))
