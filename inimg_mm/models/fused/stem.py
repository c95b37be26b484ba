"""A stem's norm, ReLU and max pool in one: ``maxpool(relu(a y + b))``, the pool of 3x3 windows two apart.

Neither the ReLU's output nor 64-bit positions are kept: beside y, and the norm's constants, one byte for each
window says which of its pixels was the largest. In bfloat16 that is an eighth of y (12.8 MB beside 102.8 at
64 x 64 x 112 x 112, where torch keeps 308); without it each backward pass would read and norm 25 pixels of y
to know the four windows that a square of four pixels is in, and with it reads those four. ``recompute`` keeps
y alone, and walks over it once more. Ties go to torch's pixel, the first row by row; pixels are compared as
torch would store them, rounded. The backward passes gather: no atomics, so that results repeat.

Launches: 3 forward and 3 backward in training; 1 and 2 with running statistics, 1 and 1 where gamma and beta
are frozen, too.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from inimg_mm.models.eager import is_untouched

from . import norms
from .geometry import Geometry, dense, like
from .norm_act import affine_of, norm_act
from .norms import NormCall, is_fusable
from .second_derivatives import gradients_of
from .switch import Fused, can_fuse

WINDOWS = {(1, False), (0, True)}
"""Padding of a pool that is fused, and whether it rounds up: torchvision's, and the older one of SENet."""


def stem_obstacle(norm: nn.Module, act: nn.Module, pool: nn.Module, fused: Fused = 'auto') -> str | None:
    """Why a stem is not fused whatever its input, in a few words; None where it is."""
    if type(act) is not nn.ReLU:
        return f'a {type(act).__name__} follows its norm'
    if type(pool) is not nn.MaxPool2d:
        return f'it ends in a {type(pool).__name__}'
    sizes = [_pair(value) for value in (pool.kernel_size, pool.stride, pool.dilation)]
    squares = sizes == [(3, 3), (2, 2), (1, 1)] and len(set(_pair(pool.padding))) == 1
    if not squares or (_pair(pool.padding)[0], pool.ceil_mode) not in WINDOWS or pool.return_indices:
        return 'its max pool is another than 3x3 of stride 2'
    if not is_untouched(act, pool):
        return 'its ReLU or max pool has a hook or a forward of its own'
    return norms.obstacle(norm, fused)


def stem(
    y: Tensor,
    norm: nn.Module,
    act: nn.Module,
    pool: nn.Module,
    fused: Fused = 'auto',
    recompute: bool = False,
) -> Tensor:
    """``pool(act(norm(y)))``, in one where that is allowed and gives the same numbers.

    Args:
        y: (N, C, H, W).
        norm: Any norm; :func:`.is_fusable` says which ones are fused.
        act: Any activation.
        pool: Any pool; :func:`stem_obstacle` says what is fused.
        fused: See :mod:`.switch`.
        recompute: Whether the largest pixels are found again in the backward pass.
    """
    if not (
        can_fuse(fused, y)
        and stem_obstacle(norm, act, pool, fused) is None
        and is_fusable(norm, y, fused)
        and min(y.shape[2:]) > 1 - _pair(pool.padding)[0]
    ):
        return pool(norm_act(y, norm, act, fused))
    inputs = dense(y), norm.weight, norm.bias
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    return Stem.apply(*inputs, NormCall.of(norm), _pair(pool.padding)[0], learns and not recompute)


class Stem(Function):
    """The fused form of :func:`stem`."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, call: NormCall, padding: int, indexed: bool
    ) -> Tensor:
        from . import passes, stem_passes

        norm, _ = passes.statistics(y, Geometry.of(y, per_sample=False), call, weight, bias)
        out = stem_passes.pooled_map(y, padding, y.dtype)
        index = stem_passes.pooled_map(y, padding, torch.int8) if indexed else None
        stem_passes.pool(y, norm, padding, out, index)
        ctx.save_for_backward(y, index, *norm[:5])
        ctx.call, ctx.padding, ctx.output_again = call, padding, Stem.output_again
        return out

    @staticmethod
    def output_again(ctx: Any) -> Tensor:
        """The output, from what is kept."""
        from . import passes, stem_passes

        y, _, *constants = ctx.saved_tensors
        out = stem_passes.pooled_map(y, ctx.padding, y.dtype)
        stem_passes.pool(y, passes.Affine.of(constants, ctx.call), ctx.padding, out, None)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        from . import backward_passes, passes, stem_passes

        y, index, *constants = ctx.saved_tensors
        call, padding, needs = ctx.call, ctx.padding, ctx.needs_input_grad[:3]
        norm = passes.Affine.of(constants, call)
        if torch.is_grad_enabled():
            inputs = (y, norm.weight, norm.bias)
            return *gradients_of(_formula, inputs, grads[0], needs, call, padding), None, None, None
        if index is None:
            index = stem_passes.pooled_map(y, padding, torch.int8)
            stem_passes.pool(y, norm, padding, None, index)
        go, dy, affine = like(y, grads[0]), passes.empty_map(y), None
        sums = not call.running or needs[1] or needs[2]
        maps = (go, index, y, norm, padding)
        rows = stem_passes.gradients(*maps, dy=dy if call.running else None, sums=sums)
        if rows is not None:
            affine = backward_passes.affine_gradients(rows.parts[0], rows.parts[1], norm)
        if not call.running:
            merged = backward_passes.over_processes(affine, call)
            stem_passes.gradients(*maps, dy=dy, affine=merged)
        return dy, *affine_of(affine, norm.weight, norm.bias, needs[1:]), None, None, None


def _formula(y: Tensor, weight: Tensor, bias: Tensor, call: NormCall, padding: int) -> Tensor:
    out = F.relu(call.formula(y, weight, bias))
    return F.max_pool2d(out, 3, 2, padding, ceil_mode=padding == 0)


def _pair(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
