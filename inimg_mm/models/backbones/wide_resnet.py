"""Wide residual networks for CIFAR, with any gate."""

from typing import Any, ClassVar

from inimg_mm.errors import UsageError
from inimg_mm.models.attention import with_fold
from inimg_mm.models.checks import positive_integer
from inimg_mm.registry import MODELS

from .preact_blocks import PreActBasicBlock
from .preact_resnet import BASIC, PreActResNet


@MODELS.register_module()
class WideResNet(PreActResNet):
    """Wide residual network (Zagoruyko and Komodakis, arXiv 1605.07146), with any gate.

    A :class:`.PreActResNet` with the CIFAR stem, whose basic blocks are ``widen_factor`` times as wide:
    WRN-28-10 is ``depth=28, widen_factor=10``. Gates that fold their image fold each stream into
    ``widen_factor`` rows, as CMPE-SE's authors do, unless the spec says how.

    Args:
        depth: (depth - 4) is a multiple of 6: 16, 22, 28, 40.
        widen_factor: Width of the blocks over that of a ResNet; must be given. The stem keeps
            ``stem_channels=16``.
        dropout: Probability of dropping a value before each block's second convolution (the paper's 0.3).
        **options: See :class:`.PreActResNet`; ``stem`` and ``bottleneck`` are refused.

    Raises:
        UsageError: If an argument is out of its range or cannot be honoured; the message names the choices.
    """

    arch_settings: ClassVar = {}
    cifar_blocks: ClassVar = {BASIC: (PreActBasicBlock, 4, 6)}

    def __init__(
        self, depth: int, widen_factor: int | None = None, dropout: float = 0.0, **options: Any
    ) -> None:
        for name in ('stem', 'bottleneck'):
            if options.pop(name, None) is not None:
                raise UsageError(f'WideResNet takes no {name}: it has the CIFAR stem and basic blocks')
        if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise UsageError(f'dropout must be at least 0 and below 1, got {dropout!r}')
        self.widen_factor = positive_integer('widen_factor', widen_factor)
        self.dropout = dropout
        super().__init__(depth, **options)

    def planes(self, stage: int, number: int) -> int:
        """See :meth:`.ResNet.planes`."""
        return super().planes(stage, number) * self.widen_factor

    def block_options(self, stage: int, index: int) -> dict[str, Any]:
        """See :meth:`.ResNet.block_options`."""
        return dict(dropout=self.dropout)

    def attention_spec(self, attention: dict[str, Any] | None) -> dict[str, Any] | None:
        """See :meth:`.ResNet.attention_spec`."""
        return with_fold(super().attention_spec(attention), dict(rows=self.widen_factor))
