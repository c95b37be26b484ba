"""A batch norm and the ReLU behind it: ``relu(a y + b)``, a = gamma / deviation, b = beta - a mean.

Two passes forward (statistics; apply) and two backward (sums; gradient), of which a norm with running
statistics needs one each. The ReLU's sign follows from y, so that only the next layer keeps the output.

Launches: 3 forward and 3 backward in training; 1 and 2 with running statistics, 1 and 1 where gamma and beta
are frozen, too.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from inimg_mm.models.eager import is_untouched

from .geometry import Geometry, dense, like
from .norms import NormCall, is_fusable
from .second_derivatives import gradients_of
from .switch import Fused, can_fuse


def norm_act(y: Tensor, norm: nn.Module, act: nn.Module | None, fused: Fused = 'auto') -> Tensor:
    """``act(norm(y))``, in one where that is allowed and gives the same numbers.

    Args:
        y: (N, C, H, W).
        norm: Any norm; :func:`.is_fusable` says which ones are fused.
        act: A ReLU, or None for a norm alone. Another activation is called as it is.
        fused: See :mod:`.switch`.
    """
    if is_fused(y, norm, act, fused):
        return NormAct.apply(dense(y), norm.weight, norm.bias, NormCall.of(norm), act is not None)
    y = norm(y)
    return y if act is None else act(y)


def is_fused(y: Tensor, norm: nn.Module, act: nn.Module | None, fused: Fused = 'auto') -> bool:
    """Whether the norm of ``y`` and what follows are computed in one."""
    plain = act is None or type(act) is nn.ReLU
    return plain and can_fuse(fused, y) and is_fusable(norm, y, fused) and (act is None or is_untouched(act))


class NormAct(Function):
    """The fused form of :func:`norm_act`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, call: NormCall, relu: bool) -> Tensor:
        from . import passes

        geometry = Geometry.of(y, per_sample=False)
        norm, _ = passes.statistics(y, geometry, call, weight, bias)
        out = passes.empty_map(y)
        passes.apply(y, geometry, norm, out, relu)
        ctx.save_for_backward(y, *norm[:5])
        ctx.call, ctx.relu, ctx.output_again = call, relu, NormAct.output_again
        return out

    @staticmethod
    def output_again(ctx: Any) -> Tensor:
        """The output, from what is kept."""
        from . import passes

        y, *constants = ctx.saved_tensors
        out, norm = passes.empty_map(y), passes.Affine.of(constants, ctx.call)
        passes.apply(y, Geometry.of(y, per_sample=False), norm, out, ctx.relu)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        from . import backward_passes, passes

        y, *constants = ctx.saved_tensors
        call, relu, needs = ctx.call, ctx.relu, ctx.needs_input_grad[:3]
        norm = passes.Affine.of(constants, call)
        if torch.is_grad_enabled():
            inputs = (y, norm.weight, norm.bias)
            return *gradients_of(formula, inputs, grads[0], needs, call, relu), None, None
        geometry = Geometry.of(y, per_sample=False)
        go, dy, affine = like(y, grads[0]), passes.empty_map(y), None
        sums = not call.running or needs[1] or needs[2]
        rows = backward_passes.gradient_sums(
            go, y, geometry, norm, relu, sums, dy=dy if call.running else None
        )
        if rows is not None:
            affine = backward_passes.affine_gradients(rows.parts[0], rows.parts[1], norm)
        if not call.running:
            backward_passes.input_gradients(
                go, y, geometry, norm, relu, dy, backward_passes.over_processes(affine, call)
            )
        return dy, *affine_of(affine, norm.weight, norm.bias, needs[1:]), None, None


def formula(y: Tensor, weight: Tensor, bias: Tensor, call: NormCall, relu: bool) -> Tensor:
    """The formula of :class:`NormAct` as torch writes it."""
    out = call.formula(y, weight, bias)
    return F.relu(out) if relu else out


def affine_of(
    gradients: Tensor | None, weight: Tensor, bias: Tensor, needs: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """A norm's own gradients, of weight and bias, from (2, C): bias, weight."""
    if gradients is None:
        return None, None
    of_bias, of_weight = gradients.unbind()
    return of_weight.to(weight.dtype) if needs[0] else None, of_bias.to(bias.dtype) if needs[1] else None
