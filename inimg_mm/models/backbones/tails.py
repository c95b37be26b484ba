"""The end of a block in fewer walks over its maps: the same numbers as the template's formula, on a CPU.

``relu(shortcut + g * residual)``, with g from the means of one or both, is a handful of cheap operations,
and what they cost is memory. Written out, each of the two means sends a map back, constant over each channel,
that is added to the map of the sum; the product with g sends two more. Here every stream's gradient is
written once: with q the gradient behind the ReLU and k, v the means' gradients over the number of pixels,

    d residual = g q + k        d shortcut = q + v        d g = sum of q * residual over each channel's pixels
"""

from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from inimg_mm.models.attention import Gate
from inimg_mm.models.eager import is_eager, is_untouched

CACHED_VALUES = 2**18
"""As many values as a product may have that is made only to be summed, so that it stays in the cache."""


def is_gated_in_one(
    shortcut: Tensor,
    residual: Tensor,
    gate: nn.Module,
    drop_path: nn.Module,
    relu: nn.Module | None = None,
) -> bool:
    """Whether :func:`gated_in_one` may stand for the template's formula: nobody looks at a part of it.

    Maps of two dtypes, as mixed precision may leave them, are not added here: the formula promotes them.
    """
    return (
        isinstance(gate, Gate)
        and is_eager(shortcut, residual)
        and type(gate).forward is Gate.forward
        and type(drop_path) in (DropPath, nn.Identity)
        and (relu is None or type(relu) is nn.ReLU and is_untouched(relu))
        and residual.device.type == 'cpu'
        and residual.dtype == shortcut.dtype
        and residual.shape == shortcut.shape
        and residual.numel() > 0
        and is_untouched(gate, drop_path)
    )


def gated_in_one(
    shortcut: Tensor, residual: Tensor, gate: Gate, drop_path: nn.Module, relu: nn.Module | None = None
) -> Tensor:
    """``relu(shortcut + gate(residual, shortcut) * drop_path(residual))``, each gradient written once.

    Args:
        shortcut: (N, C, H, W).
        residual: (N, C, H, W).
        gate: Read without its own ``forward``, see :func:`is_gated_in_one`.
        drop_path: Drops samples; what it draws does not depend on the maps.
        relu: None where nothing follows the sum.
    """
    with torch.autocast(residual.device.type, enabled=False):
        *means, q, g = _Means.apply(residual, shortcut, gate.needs_shortcut, gate.dtype, relu is not None)
    weight = gate.weigh(means, residual.dtype)
    if isinstance(drop_path, DropPath):
        weight = weight * drop_path(residual.new_ones(len(residual), 1, 1, 1))
    return _Tail.apply(residual, shortcut, weight, q, g, relu is not None)


def sum_in_place(shortcut: Tensor, residual: Tensor, last: nn.Module) -> Tensor:
    """``shortcut + residual``, into the residual where ``last``, which made it, is a batch norm.

    A batch norm keeps its input for the backward pass and not its output. Somebody else who may keep that
    (a hook, a compiler, the caller of a leaf) finds it as it was.
    """
    if (
        isinstance(last, _BatchNorm)
        and is_eager(shortcut, residual)
        and residual.dtype == shortcut.dtype
        and residual is not shortcut
        and not (residual.is_leaf and residual.requires_grad)
        and is_untouched(last)
    ):
        return residual.add_(shortcut)
    return shortcut + residual


class _Means(Function):
    """The streams' means, and two carriers to :class:`_Tail`, through which it sends q and g back.

    A carrier has the shape of what comes back through it and no values of its own. ``owned``: q is a map that
    the tail has made, and may be changed.
    """

    @staticmethod
    def forward(
        ctx: Any, residual: Tensor, shortcut: Tensor, both: bool, dtype: torch.dtype, owned: bool
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.shape, ctx.owned = residual.shape, owned
        streams = (residual, shortcut) if both else (residual,)
        means = [stream.mean((2, 3), keepdim=True, dtype=dtype) for stream in streams]
        nothing = residual.new_zeros(())
        return *means, nothing.expand(residual.shape), nothing.expand(*residual.shape[:2], 1, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        *means, q, g = grads
        pixels = ctx.shape[2] * ctx.shape[3]
        k, v = (None if mean is None else mean / pixels for mean in (*means, None)[:2])
        if q is None or g is None:  # the tail has sent its own gradients, or the streams need none
            constants = [None if value is None else value.expand(ctx.shape) for value in (k, v)]
            return *constants, None, None, None
        of_residual = q * g if k is None else torch.addcmul(k.to(q.dtype), q, g)
        if v is not None:
            q = q.add_(v) if ctx.owned else q + v.to(q.dtype)
        return of_residual, q, None, None, None


class _Tail(Function):
    """``relu(shortcut + weight * residual)``; the streams' gradients are left to :class:`_Means` to write."""

    @staticmethod
    def forward(
        ctx: Any, residual: Tensor, shortcut: Tensor, weight: Tensor, q: Tensor, g: Tensor, rectified: bool
    ) -> Tensor:
        out = torch.addcmul(shortcut, residual, weight)
        ctx.save_for_backward(residual, weight, *([out.relu_()] if rectified else []))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        residual, weight, *out = ctx.saved_tensors
        q = torch.ops.aten.threshold_backward(grads[0], *out, 0) if out else grads[0]
        of_weight = _sums_of_products(q, residual)
        if torch.is_grad_enabled():  # for second derivatives each gradient must be its own formula's
            return q * weight, q, of_weight, None, None, None
        return None, None, of_weight, q, weight, None


def _sums_of_products(a: Tensor, b: Tensor) -> Tensor:
    """``(a * b).sum((2, 3), keepdim=True)``, a few rows or samples at a time, so that it stays cached."""
    by_rows = a.is_contiguous(memory_format=torch.channels_last)
    dim = 2 if by_rows else 0
    step = max(CACHED_VALUES * a.shape[dim] // a.numel(), 1)
    wide = torch.promote_types(a.dtype, torch.float32)
    sums = [
        (x * y).sum((2, 3), keepdim=True, dtype=wide)
        for x, y in zip(a.split(step, dim), b.split(step, dim), strict=True)
    ]
    return (sum(sums[1:], sums[0]) if by_rows else torch.cat(sums)).to(a.dtype)
