"""Outputs that are made again in the backward pass instead of kept: ``recompute=True``.

What a fused operation keeps is enough to make its output again in one pass, and only the convolution that
reads it keeps that output. So inside of :func:`made_again` the convolution keeps the operation in its place.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from inimg_mm.errors import UsageError
from inimg_mm.models.eager import is_eager

from .switch import Fused


def checked_recompute(recompute: Any, fused: Fused, with_cp: bool = False) -> bool:
    """Check the argument of a backbone.

    Raises:
        UsageError: If it is no switch, or there is nothing that it could make again.
    """
    if not isinstance(recompute, bool):
        raise UsageError(f'recompute must be True or False, got {recompute!r}')
    if recompute and fused is False:
        raise UsageError(
            "recompute=True makes outputs of fused operations again: it takes fused='auto' or True"
        )
    if recompute and with_cp:
        raise UsageError(
            'recompute=True and with_cp=True: blocks that are computed again keep nothing anyway'
        )
    return recompute


def made_again(x: Tensor, recompute: bool) -> AbstractContextManager:
    """What is computed inside does not keep ``x`` for its backward pass, where ``x`` can be made again.

    Args:
        x: The output of a fused operation, or any other tensor, which is kept.
        recompute: Whether to do so at all.
    """
    node: Any = x.grad_fn if recompute and is_eager(x) else None
    if getattr(node, 'output_again', None) is None:
        return nullcontext()
    place = _place(x)  # not x itself, which the hooks would keep

    def pack(tensor: Tensor) -> Any:
        return node if _place(tensor) == place else tensor

    def unpack(kept: Any) -> Tensor:
        return kept.output_again(kept) if kept is node else kept

    return saved_tensors_hooks(pack, unpack)


def _place(x: Tensor) -> tuple[Any, ...]:
    return x.data_ptr(), x.dtype, x.shape, x.stride()
