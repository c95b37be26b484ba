"""Two norms, each with the ReLU behind it, on maps of one shape: an SCNet block's two branches.

Each is a :mod:`.norm_act`; in training, the launches over channels serve both.

Launches in training: 5 forward and 5 backward.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from .geometry import Geometry, dense, like
from .norm_act import affine_of, formula, is_fused, norm_act
from .norms import NormCall
from .second_derivatives import gradients_of
from .switch import Fused


def norm_act_of_both(
    first: tuple[Tensor, nn.Module],
    second: tuple[Tensor, nn.Module],
    act: nn.Module,
    fused: Fused = 'auto',
    recompute: bool = False,
) -> tuple[Tensor, Tensor]:
    """``act(norm(y))`` of two maps, together where both are fused and normed by their batch's statistics.

    Args:
        first: A map (N, C, H, W) and its norm.
        second: Another.
        act: The activation behind both.
        fused: See :mod:`.switch`.
        recompute: Whether each is to be one that can be made again for itself, see :mod:`.made_again`.
    """
    both = first, second
    if (
        not recompute
        and first[0].shape == second[0].shape
        and all(is_fused(y, norm, act, fused) for y, norm in both)
    ):
        calls = [NormCall.of(norm) for _, norm in both]
        if not any(call.running or call.group is not None for call in calls):
            given = [(dense(y), norm.weight, norm.bias) for y, norm in both]
            return NormActOfBoth.apply(*given[0], *given[1], *calls)
    return tuple(norm_act(y, norm, act, fused) for y, norm in both)  # type: ignore[return-value]


class NormActOfBoth(Function):
    """The fused form of :func:`norm_act_of_both`."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor]:
        from . import passes

        *tensors, call, call2 = given
        (y, *affine), (y2, *affine2) = tensors[:3], tensors[3:]
        geometry, geometry2 = Geometry.of(y, False), Geometry.of(y2, False)
        (norm, _), (norm2, _) = passes.statistics_of_both(
            passes.Normed(y, geometry, call, *affine), passes.Normed(y2, geometry2, call2, *affine2)
        )
        out, out2 = passes.empty_map(y), passes.empty_map(y2)
        passes.apply(y, geometry, norm, out, True)
        passes.apply(y2, geometry2, norm2, out2, True)
        ctx.save_for_backward(y, y2, *norm[:5], *norm2[:5])
        ctx.calls = call, call2
        return out, out2

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        from . import backward_passes, passes

        y, y2, *constants = ctx.saved_tensors
        maps, needs = [y, y2], [ctx.needs_input_grad[:3], ctx.needs_input_grad[3:6]]
        norms = [passes.Affine.of(constants[5 * i : 5 * i + 5], ctx.calls[i]) for i in range(2)]
        found: list[Any] = []
        if torch.is_grad_enabled():
            for y, norm, call, grad, needed in zip(maps, norms, ctx.calls, grads, needs, strict=True):
                found += gradients_of(formula, (y, norm.weight, norm.bias), grad, needed, call, True)
            return *found, None, None
        walks, sums = [], []
        for y, norm, grad in zip(maps, norms, grads, strict=True):
            walks.append((like(y, grad), y, Geometry.of(y, False), norm, True))
            rows = backward_passes.gradient_sums(*walks[-1], sums=True)
            sums.append(backward_passes.Sums(rows.parts[0], rows.parts[1], norm))
        own = backward_passes.affine_gradients_of_both(*sums)
        for walk, affine, norm, needed in zip(walks, own, norms, needs, strict=True):
            dy = passes.empty_map(walk[1])
            backward_passes.input_gradients(*walk, dy, affine)
            found += [dy, *affine_of(affine, norm.weight, norm.bias, needed[1:])]
        return *found, None, None
