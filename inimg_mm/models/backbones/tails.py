"""The end of a block in fewer walks over its maps: the same numbers as the template's formula, on a CPU.

``relu(shortcut + g * residual)``, with g from the means of one or both, is a handful of cheap operations,
and what they cost is memory. Written out, each of the two means sends a map back, constant over each channel,
that is added to the map of the sum; the product with g sends two more. Here every stream's gradient is
written once: with q the gradient behind the ReLU and k, v the means' gradients over the number of pixels,

    d residual = g q + k        d shortcut = q + v        d g = sum of q * residual over each channel's pixels

Where a batch norm ends the branch, the sum takes the place of its output: residual = a (y - mean) + b, of
which the norm keeps y and the mean anyway, so that a gate keeps no map.
"""

from typing import Any, NamedTuple

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from inimg_mm.models.attention import Gate
from inimg_mm.models.eager import is_eager, is_untouched
from inimg_mm.models.fused.norms import NormCall, takes, unreadable

CACHED_VALUES = 2**18
"""As many values as a product may have that is made only to be summed, so that it stays in the cache."""


class NormedFrom(NamedTuple):
    """What a batch norm's output is made from.

    Attributes:
        y: The norm's input, (N, C, H, W).
        weight: (C,).
        bias: (C,).
        mean: (C,).
        scale: 1 / deviation, (C,).
        call: What the norm did.
    """

    y: Tensor
    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor
    call: NormCall


def can_be_replaced(norm: nn.Module, y: Tensor) -> bool:
    """Whether :func:`normed` does what ``norm(y)`` does, and nobody but the caller has its output."""
    return (
        type(norm) is nn.BatchNorm2d
        and y.device.type == 'cpu'
        and is_eager(y)
        and unreadable(norm) is None
        and takes(norm, y)
        and y.dtype == norm.weight.dtype
    )


def normed(norm: Any, y: Tensor) -> tuple[Tensor, NormedFrom]:
    """``norm(y)``, see :func:`can_be_replaced`, and what it is made from."""
    call, weight, bias = NormCall.of(norm), norm.weight, norm.bias
    if call.batches is not None:
        call.batches.add_(1)
    settings = not call.running, call.momentum, call.eps
    out, mean, scale = torch.native_batch_norm(y, weight, bias, call.mean, call.var, *settings)
    if call.mean is not None and call.var is not None and call.running:
        mean, scale = call.mean, torch.rsqrt(call.var + call.eps)
    return out, NormedFrom(y, weight, bias, mean, scale, call)


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
    shortcut: Tensor,
    residual: Tensor,
    gate: Gate,
    drop_path: nn.Module,
    relu: nn.Module | None = None,
    source: NormedFrom | None = None,
) -> Tensor:
    """``relu(shortcut + gate(residual, shortcut) * drop_path(residual))``, each gradient written once.

    Args:
        shortcut: (N, C, H, W).
        residual: (N, C, H, W).
        gate: Read without its own ``forward``, see :func:`is_gated_in_one`.
        drop_path: Drops samples; what it draws does not depend on the maps.
        relu: None where nothing follows the sum.
        source: What ``residual`` is made from, if the output may take its place in memory.
    """
    with torch.autocast(residual.device.type, enabled=False):
        *means, q, g = _Means.apply(residual, shortcut, gate.needs_shortcut, gate.dtype, relu is not None)
    weight = gate.weigh(means, residual.dtype)
    if isinstance(drop_path, DropPath):
        weight = weight * drop_path(residual.new_ones(len(residual), 1, 1, 1))
    return _Tail.apply(residual, shortcut, weight, q, g, relu is not None, *(source or ()))


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
    """``relu(shortcut + weight * residual)``; the streams' gradients are left to :class:`_Means` to write.

    With the fields of :class:`NormedFrom` it is written over the residual.
    """

    @staticmethod
    def forward(
        ctx: Any,
        residual: Tensor,
        shortcut: Tensor,
        weight: Tensor,
        q: Tensor,
        g: Tensor,
        rectified: bool,
        *source: Any,
    ) -> Tensor:
        if source:
            out = torch.addcmul(shortcut, residual, weight, out=residual)
            ctx.mark_dirty(out)
        else:
            out = torch.addcmul(shortcut, residual, weight)
        if rectified:
            out.relu_()
        *tensors, ctx.call = source or (residual, None)
        ctx.rectified = rectified
        ctx.save_for_backward(weight, *([out] if rectified else []), *tensors)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, *kept = ctx.saved_tensors
        q = torch.ops.aten.threshold_backward(grads[0], kept.pop(0), 0) if ctx.rectified else grads[0]
        nothing = (None,) * (0 if ctx.call is None else len(NormedFrom._fields))
        if torch.is_grad_enabled():  # for second derivatives each gradient must be its own formula's
            residual = kept[0] if ctx.call is None else ctx.call.formula(*kept[:3])
            return q * weight, q, _sums_of_products(q, residual), None, None, None, *nothing
        if ctx.call is None:
            of_weight = _sums_of_products(q, *kept)
        else:
            y, slope, bias, mean, scale = (each if each.dim() == 4 else each.view(-1, 1, 1) for each in kept)
            sums, sums_of_q = _sums_of_products(q, y, mean)
            of_weight = slope * scale * sums + bias * sums_of_q
        return None, None, of_weight, q, weight, None, *nothing


def _sums_of_products(a: Tensor, b: Tensor, mean: Tensor | None = None) -> Any:
    """``(a * b).sum((2, 3), keepdim=True)``, a few rows or samples at a time, so that it stays cached.

    With a mean, ``(a * (b - mean))`` is summed, and a alone, too.
    """
    by_rows = a.is_contiguous(memory_format=torch.channels_last)
    dim = 2 if by_rows else 0
    step = max(CACHED_VALUES * a.shape[dim] // a.numel(), 1)
    wide = torch.promote_types(a.dtype, torch.float32)
    parts = []
    for x, y in zip(a.split(step, dim), b.split(step, dim), strict=True):
        terms = [x * y] if mean is None else [(y - mean).mul_(x), x]
        parts.append([term.sum((2, 3), keepdim=True, dtype=wide) for term in terms])
    sums = [sum(each[1:], each[0]) if by_rows else torch.cat(each) for each in zip(*parts, strict=True)]
    return sums[0].to(a.dtype) if mean is None else [each.to(a.dtype) for each in sums]
