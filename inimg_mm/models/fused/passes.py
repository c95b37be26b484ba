"""The passes of the forward direction: each launches one kernel, and says which tensors it needs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import channel_kernels, map_kernels
from .geometry import PROGRAMS, Geometry, Plan, plan, power_of_two
from .launcher import launch
from .norms import NormCall, merged_statistics

ROWS = 256
"""Rows of partial sums that a small kernel reads at once."""
CHANNELS = 8
"""Channels of a program of a small kernel: one sector of memory."""
SMALL_CHANNELS = 128
"""Channels of a program that works on one sample's rows."""


MANY = 2 * PROGRAMS
"""Programs of a pass that sums nothing."""


class Affine(NamedTuple):
    """A norm as the kernels read it: each (C,), ``share`` is 1 / count, (1,), in training."""

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    share: Tensor | None
    eps: float
    running: bool

    @classmethod
    def of(cls, tensors: Sequence[Any], call: NormCall) -> 'Affine':
        """From the first five fields and the norm's call."""
        mean, scale, weight, bias, share = tensors
        return cls(mean, scale, weight, bias, share, call.eps, call.running)


class Rows(NamedTuple):
    """Partial sums, each (rows, C), with the plan of the pass that wrote them."""

    parts: tuple[Tensor, ...]
    plan: Plan


def empty(*shape: int, like: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor to write to, on the device of ``like``."""
    return torch.empty(shape, dtype=dtype, device=like.device)


def empty_map(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A map to write to, with shape and layout of ``like``."""
    return torch.empty_like(like, dtype=dtype)


def partial_sums(number: int, geometry: Geometry, divided: Plan, like: Tensor) -> tuple[Tensor, ...]:
    """Rows for a pass to write ``number`` sums of each of its chunks to, each (rows, C)."""
    return empty(number, geometry.samples * divided.chunks, geometry.channels, like=like).unbind()


def constants(norm: Affine | None, number: int) -> tuple[Tensor | None, ...]:
    """The first tensors of a norm that may be absent."""
    return (None,) * number if norm is None else tuple(norm[:number])  # type: ignore[arg-type]


def walk(geometry: Geometry, divided: Plan) -> tuple[int, ...]:
    """A kernel's arguments from HW to ``steps``."""
    return geometry.positions, geometry.channels, *geometry.strides, divided.steps


def tile(geometry: Geometry, divided: Plan) -> dict[str, Any]:
    """The compile-time arguments that every kernel over maps has."""
    large = not geometry.channels_last and geometry.positions > divided.tile_positions
    return dict(
        BP=divided.tile_positions,
        BC=divided.tile_channels,
        CL=geometry.channels_last,
        FULL=divided.full,
        EIGHT=large and geometry.positions % 16 == 8,
    )


def moments(y: Tensor, geometry: Geometry, squares: bool) -> Rows:
    """Means of the chunks, and their sums of squares about them."""
    divided = plan(geometry, 4096) if geometry.channels_last else plan(geometry)
    parts = partial_sums(1 + squares, geometry, divided, y)
    second = parts[1] if squares else None
    where = walk(geometry, divided)
    launch(map_kernels.moments, divided.grid, y, parts[0], second, *where, **tile(geometry, divided))
    return Rows(parts, divided)


def either(first: tuple[Any, ...], second: tuple[Any, ...] | None = None) -> tuple[Any, ...]:
    """The arguments of a kernel that works on one set of them or on two."""
    return *first, *((None,) * len(first) if second is None else second)


class Normed(NamedTuple):
    """A map and its norm.

    Attributes:
        y: The norm's input.
        geometry: Of ``y``.
        call: What the norm does.
        weight: (C,).
        bias: (C,).
        squeezed: Whether the chunks' means are needed anyway.
    """

    y: Tensor
    geometry: Geometry
    call: NormCall
    weight: Tensor
    bias: Tensor
    squeezed: bool = False


def statistics(
    y: Tensor, geometry: Geometry, call: NormCall, weight: Tensor, bias: Tensor, squeezed: bool = False
) -> tuple[Affine, Any]:
    """The norm's constants, from the batch where it is in training; its running statistics follow.

    The arguments are those of :class:`Normed`.

    Returns:
        The constants and the chunks' moments (:class:`Rows`), None where nobody needed them.
    """
    return statistics_of_both(Normed(y, geometry, call, weight, bias, squeezed))[0]


def statistics_of_both(
    first: Normed, second: Normed | None = None
) -> tuple[tuple[Affine, Any], tuple[Any, Any]]:
    """:func:`statistics` of two norms of as many channels, which one launch finishes together.

    Each is finished for itself where one needs no statistics, or shares its own with other processes. For a
    norm that is not there, None and None.
    """
    norms = [first] if second is None else [first, second]
    rows = [
        moments(norm.y, norm.geometry, not norm.call.running)
        if norm.squeezed or not norm.call.running
        else None
        for norm in norms
    ]
    given = [
        None if norm.call.running or chunks is None else _merge_arguments(norm, chunks)
        for norm, chunks in zip(norms, rows, strict=True)
    ]
    if all(not norm.call.running and norm.call.group is None for norm in norms):
        _merge(first, *given)
    else:
        for norm, arguments in zip(norms, given, strict=True):
            if arguments is not None:
                _merge(norm, arguments)
    found = [
        (_constants(norm, arguments), chunks)
        for norm, arguments, chunks in zip(norms, given, rows, strict=True)
    ]
    return found[0], (None, None) if second is None else found[1]


def _merge(norm: Normed, *given: Any) -> None:
    """Merge the chunks of one or two norms, of which ``norm`` is the first."""
    c = norm.geometry.channels
    grid = -(-c // CHANNELS), len(given), 1
    local = norm.call.group is not None
    launch(channel_kernels.merge, grid, *either(*given), c, BR=ROWS, BC=CHANNELS, LOCAL=local)


def _merge_arguments(norm: Normed, rows: Rows) -> tuple[Any, ...]:
    """One norm's arguments of the kernel; the third to the fifth are what it writes."""
    geometry, call, chunks = norm.geometry, norm.call, rows.plan.chunks
    c, tracked = geometry.channels, call.group is None and call.batches is not None
    return (
        *rows.parts,
        *empty(2 * c + 1, like=norm.y).split((c, c, 1)),
        *((call.mean, call.var, call.batches) if tracked else (None,) * 3),
        geometry.samples * chunks,
        chunks,
        geometry.positions,
        rows.plan.chunk,
        float(geometry.samples * geometry.positions),
        call.momentum,
        call.eps,
    )


def _constants(norm: Normed, merged: tuple[Any, ...] | None) -> Affine:
    """The constants of a norm from its running statistics or, by :func:`_merge_arguments`, the batch's."""
    _, _, call, weight, bias, _ = norm
    if merged is None:
        return Affine.of((call.mean, call.var, weight, bias, None), call)
    mean, scale, share, *tracked = merged[2:8]
    if call.group is not None:
        mean, scale, share = merged_statistics(call, mean, scale, share)
    for buffer in tracked:
        if buffer is not None:
            torch.autograd.graph.increment_version(buffer)
    return Affine.of((mean, scale, weight, bias, share), call)


def squeeze(
    rows: Rows, geometry: Geometry, norm: Affine, rows2: Rows | None = None, norm2: Affine | None = None
) -> tuple[Any, ...]:
    """Each sample's mean of a norm's output and its mean about the norm's own; (N, C).

    Args:
        rows: Of the norm's input.
        geometry: Of the map, and of the second one.
        norm: Its constants.
        rows2: Of a second map.
        norm2: Its norm, if it has one.

    Returns:
        Both of the first norm and of the second; without ``norm2`` the second map's mean and None.
    """
    n, c, outputs = geometry.samples, geometry.channels, 2 if rows2 is None else 3 + (norm2 is not None)
    u, centred, v, centred2 = (*empty(outputs, n, c, like=rows.parts[0]).unbind(), None, None)[:4]

    def arguments(rows: Rows, mean: Any, centred: Any, norm: Affine | None) -> tuple[Any, ...]:
        sizes = rows.plan.chunks, rows.plan.chunk, 0.0 if norm is None else norm.eps
        return rows.parts[0], mean, centred, *constants(norm, 4), *sizes

    second = None if rows2 is None else arguments(rows2, v, centred2, norm2)
    most = max(r.plan.chunks for r in (rows, rows2) if r is not None)
    launch(
        channel_kernels.squeeze,
        (-(-c // SMALL_CHANNELS), n, 1 if rows2 is None else 2),
        *either(arguments(rows, u, centred, norm), second),
        geometry.positions,
        c,
        BS=min(32, power_of_two(most)),
        BC=SMALL_CHANNELS,
        RUNNING=norm.running,
    )
    return u, centred, v, centred2


def apply(
    y: Tensor,
    geometry: Geometry,
    norm: Affine,
    out: Tensor,
    relu: bool,
    x: Tensor | None = None,
    g: Tensor | None = None,
    norm2: Affine | None = None,
    averaged: bool = False,
) -> Rows | None:
    """Write ``out = relu(x + g norm(y))``; ``norm2`` is x's own norm.

    Returns:
        The means of the output's chunks, if they are asked for.
    """
    divided = plan(geometry, programs=MANY)
    means = partial_sums(1, geometry, divided, y)[0] if averaged else None
    launch(
        map_kernels.apply,
        divided.grid,
        y,
        x,
        g,
        out,
        means,
        *norm[:4],
        *constants(norm2, 4),
        *walk(geometry, divided),
        norm.eps,
        norm.eps if norm2 is None else norm2.eps,
        **tile(geometry, divided),
        RUNNING=norm.running,
        RELU=relu,
    )
    return None if means is None else Rows((means,), divided)
