"""Gradient checkpointing that leaves batch statistics as they are without it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep the batch norms of ``module`` from updating their running statistics."""
    tracking = [
        m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    for norm in tracking:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True


def checkpointed(module: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)``, recomputed in the backward pass instead of kept.

    The recomputation sees the same random numbers and does not update the running
    statistics of ``module``'s batch norms a second time.

    Args:
        module: The module whose forward pass ``function`` is.
        function: Called twice, in the forward and in the backward pass.
        x: (N, C, H, W).
    """
    return checkpoint(
        function, x, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_statistics(module))
    )
