"""PyramidNets: pre-activation networks that grow wider block by block, with any gate."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.attention import with_fold
from inimg_mm.models.checks import is_integer
from inimg_mm.registry import MODELS

from .blocks import BlockOptions, basic_convolutions, bottleneck_convolutions
from .preact_blocks import NormConvBlock
from .preact_resnet import BASIC, BOTTLENECKS, PreActResNet
from .projections import PaddedShortcut
from .shake_drop import ShakeDrop

PADDED_FOLD = dict(width=16, pad=True)
"""Rows of an inner image, whose last is filled with zeros: the widths have no common divisor."""


class PyramidBlock(NormConvBlock):
    """A block whose first norm has no ReLU and whose last convolution has a norm.

    The shortcut is the block's input itself, pooled and padded.

    Args:
        in_channels: See :class:`.NormConvBlock`.
        planes: See :class:`.NormConvBlock`.
        options: See :class:`.NormConvBlock`.
        shake_drop: Probability of shaking the residual, see :class:`.ShakeDrop`.
        **paths: ``downsample`` and ``gate`` of :class:`.ResidualBlock`.
    """

    begins_with_relu = False
    ends_in_norm = True

    def __init__(
        self, in_channels: int, planes: int, options: BlockOptions, shake_drop: float = 0.0, **paths: Any
    ) -> None:
        super().__init__(in_channels, planes, options, **paths)
        if shake_drop > 0:
            self.drop_path = ShakeDrop(shake_drop)

    def paths_from(self, x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`.NormConvBlock.paths_from`."""
        return x if self.downsample is None else self.downsample(x), self.branch(active)


class PyramidBasicBlock(PyramidBlock):
    """Two 3x3 convolutions, see :func:`.basic_convolutions`."""

    convolutions = staticmethod(basic_convolutions)


class PyramidBottleneck(PyramidBlock):
    """1x1, 3x3, 1x1 convolutions, see :func:`.bottleneck_convolutions`."""

    expansion = 4
    convolutions = staticmethod(bottleneck_convolutions)


@MODELS.register_module()
class PyramidNet(PreActResNet):
    """Additive PyramidNet (Han et al., arXiv 1610.02915), with any gate.

    Block k of n has ``round(base_channels + alpha * k / n)`` planes. Shortcuts are average-pooled and padded
    with zeros, and so is what a gate compares the residual with, the norm after whose last convolution it
    sees. A map that is returned is what the next stage's first convolution reads (after a norm alone), see
    :class:`.PreActResNet`. Gates that fold their image fill each stream's last row with zeros.

    Args:
        depth: With the CIFAR stem, (depth - 2) is a multiple of 6 (basic blocks: 110) or of 9 (bottlenecks:
            164, 200, 272); with the ImageNet stem 18, 34, 50, 101 or 152.
        alpha: By how many planes the last block is wider than the first block's input; must be given: 48, 84
            or 270 for 110, 270 for 164, 240 for 200, 200 for 272; 360 for 101 on ImageNet.
        shake_drop: Probability that the last block's residual is shaken; it rises linearly with the blocks
            (arXiv 1802.02375, where it is 0.5).
        **options: See :class:`.PreActResNet`; ``avg_down`` is refused.

    Raises:
        UsageError: If an argument is out of its range or cannot be honoured; the message names the choices.
    """

    arch_settings: ClassVar = {
        depth: (PyramidBasicBlock if depth < 50 else PyramidBottleneck, blocks)
        for depth, (_, blocks) in PreActResNet.arch_settings.items()
    }
    cifar_blocks: ClassVar = {BASIC: (PyramidBasicBlock, 2, 6), BOTTLENECKS: (PyramidBottleneck, 2, 9)}
    cifar_stem_norm = True

    def __init__(
        self, depth: int, alpha: float | None = None, shake_drop: float = 0.0, **options: Any
    ) -> None:
        if not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
            raise UsageError(f'alpha must be a number above 0, got {alpha!r}')
        if not isinstance(shake_drop, int | float) or not 0 <= shake_drop < 1:
            raise UsageError(f'shake_drop must be at least 0 and below 1, got {shake_drop!r}')
        if shake_drop and options.get('drop_path_rate'):
            raise UsageError(
                'shake_drop and drop_path_rate are two ways to drop a residual: leave one of them out'
            )
        if options.get('avg_down'):
            raise UsageError(
                'avg_down=True: a PyramidNet has no convolutions in its shortcuts, which are pooled'
            )
        self.alpha, self.shake_drop = alpha, shake_drop
        super().__init__(depth, **options)

    def planes(self, stage: int, number: int) -> int:
        """See :meth:`.ResNet.planes`."""
        return round(self.base_channels + self.alpha * (number + 1) / sum(self.depths))

    def shortcut(self, in_channels: int, channels: int, options: BlockOptions) -> nn.Module | None:
        """See :meth:`.ResNet.shortcut`."""
        same = options.stride == 1 and in_channels == channels
        return None if same else PaddedShortcut(in_channels, channels, options.stride)

    def block_options(self, stage: int, index: int) -> dict[str, Any]:
        """See :meth:`.ResNet.block_options`."""
        number = sum(self.depths[:stage]) + index + 1
        return dict(shake_drop=self.shake_drop * number / sum(self.depths))

    def attention_spec(self, attention: dict[str, Any] | None) -> dict[str, Any] | None:
        """See :meth:`.ResNet.attention_spec`."""
        spec = with_fold(super().attention_spec(attention), PADDED_FOLD)
        if isinstance(spec, Mapping) and is_integer(spec.get('fold')):
            return {**spec, 'fold': dict(width=spec['fold'], pad=True)}
        return spec
