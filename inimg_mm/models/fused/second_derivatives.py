"""Gradients by the plain formulas, which can be differentiated again: for ``create_graph=True``."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .tail_state import State

if TYPE_CHECKING:
    from .passes import Affine


def gradients_of(
    formula: Any, inputs: tuple[Any, ...], grad: Tensor, needs: tuple[bool, ...], *options: Any
) -> list[Tensor | None]:
    """Gradients through a plain formula, which can be differentiated again; None where none is needed."""
    # views: an input may follow from another, as a gate from the map that it weighs
    inputs = tuple(x.view_as(x) for x in inputs)
    out = formula(*inputs, *options)
    wanted = [x for x, needed in zip(inputs, needs, strict=True) if needed]
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=True))
    return [next(found) if needed else None for needed in needs]


def gradients_where_given(
    formula: Any, inputs: tuple[Any, ...], grad: Tensor, needs: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """:func:`gradients_of` a formula of which some inputs may be None, which have no gradient."""
    there = [i for i, x in enumerate(inputs) if x is not None]

    def of_those(*given: Tensor) -> Tensor:
        filled = dict(zip(there, given, strict=True))
        return formula(*(filled.get(i) for i in range(len(inputs))))

    given = tuple(inputs[i] for i in there)
    found = dict(zip(there, gradients_of(of_those, given, grad, tuple(needs[i] for i in there)), strict=True))
    return tuple(found.get(i) for i in range(len(inputs)))


def tail_again(
    y: Tensor,
    x: Tensor | None,
    out: Tensor,
    g: Tensor | None,
    norm: 'Affine',
    norm2: 'Affine | None',
    state: State,
    grad: Tensor,
    needs: tuple[bool, ...],
) -> list[Tensor | None]:
    """The gradients of :class:`.Tail`'s first seven inputs by formulas that can be differentiated again."""
    q = grad * (out > 0)

    def gated(y: Tensor, weight: Tensor, bias: Tensor, *g: Tensor) -> Tensor:
        residual = state.call.formula(y, weight, bias)
        return residual if not g else residual * g[0][..., None, None]

    given = (y, norm.weight, norm.bias, *(() if g is None else (g,)))
    flags = (needs[0], needs[2], needs[3], *(() if g is None else needs[6:]))
    of_y, *own = gradients_of(gated, given, q, flags)
    own += [None] if g is None else []
    if norm2 is None:
        return [of_y, q, *own[:2], None, None, own[2]]
    shortcut = gradients_of(state.call2.formula, (x, norm2.weight, norm2.bias), q, (needs[1], *needs[4:6]))
    return [of_y, shortcut[0], *own[:2], *shortcut[1:], own[2]]


def means_again(
    y: Tensor,
    x: Tensor | None,
    norm: 'Affine',
    norm2: 'Affine | None',
    state: State,
    du: Tensor | None,
    dv: Tensor | None,
    needs: tuple[bool, ...],
    shortcut: tuple[torch.dtype, torch.Size],
) -> list[Tensor | None]:
    """The same of the first six inputs of :class:`.Squeeze`."""
    gradients: list[Tensor | None] = [None] * 6
    pixels = y.shape[2] * y.shape[3]
    if du is not None:
        k = (du / pixels)[..., None, None].expand(y.shape)
        own = gradients_of(
            state.call.formula, (y, norm.weight, norm.bias), k.to(y.dtype), (needs[0], *needs[2:4])
        )
        gradients[0], gradients[2], gradients[3] = own
    if dv is not None:
        dtype, shape = shortcut
        k = (dv / pixels)[..., None, None].expand(shape).to(dtype)
        if norm2 is None:
            gradients[1] = k
        else:
            own = gradients_of(state.call2.formula, (x, norm2.weight, norm2.bias), k, (needs[1], *needs[4:6]))
            gradients[1], gradients[4], gradients[5] = own
    return gradients
