"""Gradient checkpointing that leaves batch statistics as they are without it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from inimg_mm.models.eager import is_compiling


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Lend the batch norms of ``module`` copies of their running statistics, which are thrown away."""
    norms = [
        m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    kept = [norm._buffers for norm in norms]
    for norm in norms:
        norm._buffers = {name: buffer.clone() for name, buffer in norm._buffers.items() if buffer is not None}
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers = buffers


def checkpointed(module: nn.Module, function: Callable[[Tensor], Any], x: Tensor) -> Any:
    """``function(x)``, recomputed in the backward pass instead of kept.

    The recomputation sees the same random numbers and does not update the running
    statistics of ``module``'s batch norms a second time. A compiled one does not by itself:
    the compiler takes updates of buffers out of what it recomputes.

    Args:
        module: The module that computes ``function``.
        function: Called twice, in the forward and in the backward pass.
        x: (N, C, H, W).
    """
    if is_compiling():
        return checkpoint(function, x, use_reentrant=False)
    return checkpoint(
        function, x, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_statistics(module))
    )
