"""ShakeDrop (Yamada et al., arXiv 1802.02375): noise on a residual branch, another one on its gradient."""

from typing import Any

import torch
from torch import Tensor, nn


class ShakeDrop(nn.Module):
    """Scale the residual by ``b + a - b a`` and its gradient by ``b + c - b c`` while training (eq. 6).

    ``b`` is 1 with probability ``1 - rate``, else 0, once a batch; ``a`` is uniform in [-1, 1] and ``c`` in
    [0, 1], for each sample. In eval mode the factor is its mean, ``1 - rate``.

    Args:
        rate: Probability of shaking.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to itself."""
        if not self.training:
            return x * (1 - self.rate)
        kept = torch.rand(1, device=x.device) >= self.rate
        ahead, back = torch.rand(2, len(x), 1, 1, 1, device=x.device, dtype=x.dtype)
        one = torch.ones_like(ahead)
        return _Scale.apply(x, torch.where(kept, one, 2 * ahead - 1), torch.where(kept, one, back))

    def extra_repr(self) -> str:
        """Probability of shaking."""
        return f'rate={self.rate:.3f}'


class _Scale(torch.autograd.Function):
    """A product whose gradient is another one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ahead: Tensor, back: Tensor) -> Tensor:
        """``x * ahead``."""
        ctx.save_for_backward(back)
        return x * ahead

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """``gradient * back``."""
        (back,) = ctx.saved_tensors
        return gradient * back, None, None
