"""The passes of the forward direction: each launches one kernel, and says which tensors it needs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import channel_kernels, map_kernels
from .geometry import PROGRAMS, Geometry, Plan, plan, power_of_two
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


def launch(kernel: Any, grid: tuple[int, ...], *args: Any, **constants: Any) -> None:
    """Start a kernel; every launch of this package comes through here."""
    kernel[grid](*args, **constants)


def empty(*shape: int, like: Tensor) -> Tensor:
    """A float32 tensor to write to, on the device of ``like``."""
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def empty_map(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A map to write to, with shape and layout of ``like``."""
    return torch.empty_like(like, dtype=dtype)


def constants(norm: Affine | None, number: int) -> tuple[Tensor | None, ...]:
    """The first tensors of a norm that may be absent."""
    return (None,) * number if norm is None else tuple(norm[:number])  # type: ignore[arg-type]


def walk(geometry: Geometry, divided: Plan) -> tuple[int, ...]:
    """A kernel's arguments from HW to ``steps``."""
    return geometry.positions, geometry.channels, *geometry.strides, divided.steps


def tile(geometry: Geometry, divided: Plan) -> dict[str, Any]:
    """The compile-time arguments that every kernel over maps has."""
    return dict(
        BP=divided.tile_positions, BC=divided.tile_channels, CL=geometry.channels_last, FULL=divided.full
    )


def moments(y: Tensor, geometry: Geometry, squares: bool) -> Rows:
    """Means of the chunks, and their sums of squares about them."""
    divided = plan(geometry, 4096) if geometry.channels_last else plan(geometry)
    rows = geometry.samples * divided.chunks
    parts = empty(1 + squares, rows, geometry.channels, like=y).unbind()
    second = parts[1] if squares else None
    where = walk(geometry, divided)
    launch(map_kernels.moments, divided.grid, y, parts[0], second, *where, **tile(geometry, divided))
    return Rows(parts, divided)


def statistics(
    y: Tensor, geometry: Geometry, call: NormCall, weight: Tensor, bias: Tensor, squeezed: bool = False
) -> tuple[Affine, Any]:
    """The norm's constants, from the batch where it is in training; its running statistics follow.

    Args:
        y: The norm's input.
        geometry: Of ``y``.
        call: What the norm does.
        weight: (C,).
        bias: (C,).
        squeezed: Whether the chunks' means are needed anyway.

    Returns:
        The constants and the chunks' moments (:class:`Rows`), None where nobody needed them.
    """
    needed = squeezed or not call.running
    rows: Any = moments(y, geometry, not call.running) if needed else None
    if call.running:
        return Affine.of((call.mean, call.var, weight, bias, None), call), rows
    c = geometry.channels
    mean, scale, share = empty(2 * c + 1, like=y).split((c, c, 1))
    tracked: tuple[Tensor | None, ...] = (None,) * 3
    if call.group is None and call.batches is not None:
        tracked = call.mean, call.var, call.batches
    launch(
        channel_kernels.merge,
        (-(-c // CHANNELS), 1, 1),
        *rows.parts,
        mean,
        scale,
        share,
        *tracked,
        geometry.samples * rows.plan.chunks,
        rows.plan.chunks,
        geometry.positions,
        c,
        rows.plan.chunk,
        float(geometry.samples * geometry.positions),
        call.momentum,
        call.eps,
        BR=ROWS,
        BC=CHANNELS,
        LOCAL=call.group is not None,
    )
    if call.group is not None:
        mean, scale, share = merged_statistics(call, mean, scale, share)
    else:
        for buffer in tracked:
            if buffer is not None:
                torch.autograd.graph.increment_version(buffer)
    return Affine.of((mean, scale, weight, bias, share), call), rows


def squeeze(rows: Rows, geometry: Geometry, norm: Affine | None) -> tuple[Tensor, Tensor | None]:
    """Each sample's mean of a norm's output and its mean about the norm's own, or a map's mean; (N, C)."""
    n, c, chunks = geometry.samples, geometry.channels, rows.plan.chunks
    buffers = empty(1 if norm is None else 2, n, c, like=rows.parts[0]).unbind()
    centred = None if norm is None else buffers[1]
    launch(
        channel_kernels.squeeze,
        (-(-c // SMALL_CHANNELS), n, 1),
        rows.parts[0],
        buffers[0],
        centred,
        *((None,) * 4 if norm is None else norm[:4]),
        chunks,
        geometry.positions,
        c,
        rows.plan.chunk,
        0.0 if norm is None else norm.eps,
        BS=min(32, power_of_two(chunks)),
        BC=SMALL_CHANNELS,
        RUNNING=norm is not None and norm.running,
    )
    return buffers[0], centred


def apply(
    y: Tensor,
    geometry: Geometry,
    norm: Affine,
    out: Tensor,
    relu: bool,
    x: Tensor | None = None,
    g: Tensor | None = None,
    norm2: Affine | None = None,
) -> None:
    """Write ``out = relu(x + g norm(y))``; ``norm2`` is x's own norm."""
    divided = plan(geometry, programs=MANY)
    launch(
        map_kernels.apply,
        divided.grid,
        y,
        x,
        g,
        out,
        *norm[:4],
        *constants(norm2, 4),
        *walk(geometry, divided),
        norm.eps,
        norm.eps if norm2 is None else norm2.eps,
        **tile(geometry, divided),
        RUNNING=norm.running,
        RELU=relu,
    )
