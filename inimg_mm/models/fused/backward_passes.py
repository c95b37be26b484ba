"""The passes of the backward direction: each launches one kernel, and says which tensors it needs."""

from typing import Any, NamedTuple

from torch import Tensor, distributed

from . import channel_kernels, map_kernels
from .geometry import Geometry, plan, power_of_two
from .launcher import launch
from .norms import NormCall
from .passes import (
    CHANNELS,
    MANY,
    ROWS,
    SMALL_CHANNELS,
    Affine,
    Rows,
    constants,
    either,
    empty,
    partial_sums,
    tile,
    walk,
)


def gradient_sums(
    go: Tensor,
    y: Tensor,
    geometry: Geometry,
    norm: Affine,
    relu: bool,
    sums: bool,
    out: Tensor | None = None,
    x: Tensor | None = None,
    g: Tensor | None = None,
    norm2: Affine | None = None,
    q: Tensor | None = None,
    dy: Tensor | None = None,
    dy2: Tensor | None = None,
) -> Any:
    """The gradient behind the ReLU into ``q``, its sums (:class:`Rows`), and ``dy`` and ``dy2``."""
    divided = plan(geometry)
    parts: Any = partial_sums(2 if norm2 is None else 3, geometry, divided, y) if sums else (None,) * 3
    launch(
        map_kernels.gradient_sums,
        divided.grid,
        go,
        out,
        y,
        x if norm2 is not None else None,
        g,
        q,
        dy,
        dy2,
        *norm[:4],
        *constants(norm2, 4),
        *(*parts, None)[:3],
        *walk(geometry, divided),
        norm.eps,
        norm.eps if norm2 is None else norm2.eps,
        **tile(geometry, divided),
        RUNNING=norm.running,
        RELU=relu,
    )
    return Rows(parts, divided) if sums else None


def gate_gradient(rows: Rows, geometry: Geometry, norm: Affine) -> tuple[Tensor, Tensor]:
    """Each sample's sums, (2 or 3, N, C), and the gate's gradient, (N, C)."""
    n, c, chunks = geometry.samples, geometry.channels, rows.plan.chunks
    buffer = empty(len(rows.parts) + 1, n, c, like=rows.parts[0])
    totals = buffer[:-1]
    launch(
        channel_kernels.gate_gradient,
        (-(-c // SMALL_CHANNELS), n, 1),
        *(*rows.parts, None)[:3],
        *(*totals.unbind(), None)[:3],
        buffer[-1],
        *norm[:4],
        chunks,
        c,
        norm.eps,
        BS=min(32, power_of_two(chunks)),
        BC=SMALL_CHANNELS,
        RUNNING=norm.running,
    )
    return totals, buffer[-1]


class Sums(NamedTuple):
    """What the gradients of a norm's beta and gamma follow from: rows of sums, each (rows, C).

    Attributes:
        sums: Of the gradient behind the norm.
        centred: Of that times the norm's input about its mean.
        norm: The norm.
        g: What each sample's rows are weighed with, (N, C).
        rows_a_gate: Rows of a sample.
        du: The gradient of each row's mean of the norm's output.
        means: That mean about the norm's.
    """

    sums: Tensor
    centred: Tensor
    norm: Affine
    g: Tensor | None = None
    rows_a_gate: int = 1
    du: Tensor | None = None
    means: Tensor | None = None


def affine_gradients(sums: Tensor, centred: Tensor, norm: Affine) -> Tensor:
    """The gradients of beta and gamma, (2, C), from rows of sums."""
    return affine_gradients_of_both(Sums(sums, centred, norm))[0]


def affine_gradients_of_both(first: Sums, second: Sums | None = None) -> tuple[Tensor, Tensor | None]:
    """The same of two norms of as many channels in one launch; None for one that is not there."""
    norms = [first] if second is None else [first, second]
    c = first.sums.shape[1]
    gradients = [empty(2, c, like=norm.sums) for norm in norms]
    given = [
        (*n[:2], n.g, n.du, n.means, *into.unbind(), n.norm.scale, len(n.sums), n.rows_a_gate, n.norm.eps)
        for n, into in zip(norms, gradients, strict=True)
    ]
    launch(
        channel_kernels.affine_gradients,
        (-(-c // CHANNELS), len(norms), 1),
        *either(*given),
        c,
        BR=ROWS,
        BC=CHANNELS,
        RUNNING=first.norm.running,
        RUNNING2=norms[-1].norm.running,
    )
    return gradients[0], None if second is None else gradients[1]


def over_processes(gradients: Any, call: NormCall) -> Any:
    """The sums that a norm's input gradient needs: of all processes whose statistics it shares."""
    if call.running or call.group is None:
        return gradients
    gradients = gradients.clone()
    distributed.all_reduce(gradients, group=call.group)
    return gradients


def input_gradients(
    q: Tensor,
    y: Tensor,
    geometry: Geometry,
    norm: Affine,
    relu: bool,
    dy: Tensor,
    affine: Tensor | None,
    x: Tensor | None = None,
    g: Tensor | None = None,
    du: Tensor | None = None,
    dv: Tensor | None = None,
    norm2: Affine | None = None,
    affine2: Tensor | None = None,
    dy2: Tensor | None = None,
) -> None:
    """Write ``dy``, and the shortcut's gradient into ``q`` or, behind its norm, into ``dy2``."""
    divided = plan(geometry, programs=MANY)
    launch(
        map_kernels.input_gradients,
        divided.grid,
        q,
        y,
        x if norm2 is not None else None,
        g,
        du,
        dv,
        dy,
        dy2,
        *norm[:4],
        *constants(norm2, 3),
        *((None, None) if affine is None else affine.unbind()),
        *((None, None) if affine2 is None else affine2.unbind()),
        norm.share,
        *walk(geometry, divided),
        1.0 / geometry.positions,
        norm.eps,
        norm.eps if norm2 is None else norm2.eps,
        **tile(geometry, divided),
        RUNNING=norm.running,
        RELU=relu,
    )
