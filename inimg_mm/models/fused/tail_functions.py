"""A block's end and the means that its gate reads, as two functions with gradients of their own.

With q the gradient behind the ReLU, the backward pass needs of the maps only S1, S2 and S3, each sample's
sums of q, of q (y - mean) and of q (y2 - mean2): ``dg = a S2 + beta S1``, dbeta and dgamma are sums of
theirs, and so are the constants in

    dy = a (g q + du / HW - dbeta / M - x^ dgamma / M)      d shortcut = q + dv / HW

with u and v the means, M = N H W and x^ the normed y; a projection's norm turns ``d shortcut`` into its own.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from .geometry import Geometry, like
from .norm_act import affine_of
from .second_derivatives import means_again, tail_again
from .tail_state import State, affines_of, constants_of


class Squeeze(Function):
    """The means that a gate reads: of the norm's output, and of the shortcut where it has two streams.

    Returns two more tensors without values, through which :class:`Tail` sends q and its sums back: the
    gradients of y and of the shortcut are written here, once everything that adds to them is known.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        weight2: Any,
        bias2: Any,
        state: State,
    ) -> tuple[Tensor | None, ...]:
        from . import passes

        ctx.set_materialize_grads(False)
        geometry = Geometry.of(y, per_sample=True)
        both, folds = state.averages, state.call2 is not None
        first = passes.Normed(y, geometry, state.call, weight, bias, True)
        second = passes.Normed(x, geometry, state.call2, weight2, bias2, both) if folds else None
        (norm, rows), (norm2, rows2) = passes.statistics_of_both(first, second)
        if both and not folds:
            rows2 = state.rows or passes.moments(x, geometry, squares=False)
        u, centred, v, centred2 = passes.squeeze(rows, geometry, norm, rows2 if both else None, norm2)
        state.constants = constants_of(norm, norm2)
        folded = None if norm2 is None else x
        ctx.save_for_backward(y, centred, centred2, folded, *state.constants)
        ctx.state, ctx.shortcut = state, (x.dtype, x.shape)
        nothing = torch.empty((), dtype=torch.promote_types(y.dtype, x.dtype), device=y.device)
        sums = u.new_empty(()).expand(2 if norm2 is None else 3, *u.shape)
        return u, v, nothing.expand(y.shape), sums

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        from . import backward_passes, passes

        y, centred, centred2, x, *constants = ctx.saved_tensors
        state, needs = ctx.state, ctx.needs_input_grad[:6]
        norm, norm2 = affines_of(constants, state)
        du, dv, q, sums = grads
        if q is None or torch.is_grad_enabled():  # the tail has sent its own
            return *means_again(y, x, norm, norm2, state, du, dv, needs, ctx.shortcut), None
        du, dv = (None if mean is None else mean.contiguous() for mean in (du, dv))
        geometry, dy = Geometry.of(y, per_sample=True), passes.empty_map(y)
        first = backward_passes.Sums(sums[0], sums[1], norm, state.g, 1, du, centred)
        second = dy2 = None
        if norm2 is not None:
            dy2 = passes.empty_map(x)
            second = backward_passes.Sums(sums[0], sums[2], norm2, None, 1, dv, centred2)
        affine, affine2 = backward_passes.affine_gradients_of_both(first, second)
        backward_passes.input_gradients(
            q,
            y,
            geometry,
            norm,
            False,
            dy,
            backward_passes.over_processes(affine, state.call),
            x,
            state.g,
            du,
            dv,
            norm2,
            None if affine2 is None else backward_passes.over_processes(affine2, state.call2),
            dy2,
        )
        own = affine_of(affine, norm.weight, norm.bias, needs[2:4])
        own2 = (None, None) if norm2 is None else affine_of(affine2, norm2.weight, norm2.bias, needs[4:])
        return dy, q if dy2 is None else dy2, *own, *own2, None


class Tail(Function):
    """``relu(shortcut + g norm(y))``; behind a :class:`Squeeze` the maps' gradients are left to it."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        weight2: Any,
        bias2: Any,
        g: Tensor | None,
        q: Tensor | None,
        sums: Tensor | None,
        state: State,
    ) -> Tensor:
        from . import passes

        geometry = Geometry.of(y, state.per_sample)
        if q is None:
            first, second = passes.Normed(y, geometry, state.call, weight, bias), None
            if state.call2 is not None:
                second = passes.Normed(x, geometry, state.call2, weight2, bias2)
            (norm, _), (norm2, _) = passes.statistics_of_both(first, second)
            state.constants = constants_of(norm, norm2)
        norm, norm2 = affines_of(state.constants, state)
        state.g = None if g is None else g.detach().contiguous()
        out = passes.empty_map(y, torch.promote_types(y.dtype, x.dtype))
        state.rows = passes.apply(y, geometry, norm, out, True, x, state.g, norm2, state.averages)
        folded = None if norm2 is None else x
        ctx.save_for_backward(y, None if state.makes_again else out, g, folded, *state.constants)
        ctx.state, ctx.squeezed = state, q is not None
        ctx.output_again = Tail.output_again if state.makes_again else None
        return out

    @staticmethod
    def output_again(ctx: Any) -> Tensor:
        """The output, from what is kept."""
        from . import passes

        y, _, _, x, *constants = ctx.saved_tensors
        norm, norm2 = affines_of(constants, ctx.state)
        out = passes.empty_map(y, torch.promote_types(y.dtype, x.dtype))
        passes.apply(y, Geometry.of(y, ctx.state.per_sample), norm, out, True, x, ctx.state.g, norm2)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        from . import backward_passes, passes

        y, out, g, x, *constants = ctx.saved_tensors
        state, needs = ctx.state, ctx.needs_input_grad[:7]
        norm, norm2 = affines_of(constants, state)
        if torch.is_grad_enabled():
            out = ctx.output_again(ctx) if out is None else out
            return *tail_again(y, x, out, g, norm, norm2, state, grads[0], needs), None, None, None
        geometry, running = Geometry.of(y, state.per_sample), state.call.running
        go, gate = like(y, grads[0]), state.g
        if ctx.squeezed:
            q: Any = passes.empty_map(go)
            rows = backward_passes.gradient_sums(
                go, y, geometry, norm, True, True, out=out, x=x, g=gate, norm2=norm2, q=q
            )
            sums, dg = backward_passes.gate_gradient(rows, geometry, norm)
            return (None,) * 6 + (dg, q, sums, None)
        dy = passes.empty_map(y)
        dy2 = None if norm2 is None else passes.empty_map(x)
        q = None if running and norm2 is not None else passes.empty_map(go)
        affine: Any = None
        affine2: Any = None
        rows = backward_passes.gradient_sums(
            go,
            y,
            geometry,
            norm,
            True,
            not running or any(needs[2:6]),
            out=out,
            x=x,
            g=gate,
            norm2=norm2,
            q=q,
            dy=dy if running else None,
            dy2=dy2 if running else None,
        )
        if rows is not None:
            first = backward_passes.Sums(rows.parts[0], rows.parts[1], norm, gate, rows.plan.chunks)
            second = None if norm2 is None else backward_passes.Sums(rows.parts[0], rows.parts[2], norm2)
            affine, affine2 = backward_passes.affine_gradients_of_both(first, second)
        if not running:
            backward_passes.input_gradients(
                q,
                y,
                geometry,
                norm,
                False,
                dy,
                backward_passes.over_processes(affine, state.call),
                x,
                gate,
                norm2=norm2,
                affine2=None if norm2 is None else backward_passes.over_processes(affine2, state.call2),
                dy2=dy2,
            )
        own = affine_of(affine, norm.weight, norm.bias, needs[2:4])
        own2 = (None, None) if norm2 is None else affine_of(affine2, norm2.weight, norm2.bias, needs[4:6])
        return dy, q if dy2 is None else dy2, *own, *own2, None, None, None, None
