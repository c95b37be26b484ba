"""The passes of the calibration: each launches one kernel, see :mod:`.calibration_kernels`."""

from typing import Any

from torch import Tensor

from . import calibration_kernels
from .calibrate import cells
from .geometry import Geometry, plan, power_of_two
from .launcher import launch
from .passes import MANY, Affine, Rows, partial_sums, tile, walk


def calibrate(z3: Tensor, y: Any, z2: Tensor, norm3: Affine, norm2: Affine, out: Tensor) -> None:
    """Write ``out = norm3(z3) sigmoid(y + up(norm2(z2)))``."""
    geometry = Geometry.of(z3, True)
    divided = plan(geometry, programs=MANY)
    launch(
        calibration_kernels.calibrate,
        divided.grid,
        z3,
        y,
        z2,
        out,
        *norm3[:4],
        *norm2[:4],
        *_tables(z3, z2),
        *walk(geometry, divided),
        *_small(z3, z2),
        norm3.eps,
        norm2.eps,
        **tile(geometry, divided),
        RUNNING=norm3.running,
        RUNNING2=norm2.running,
    )


def gradients(
    go: Tensor,
    z3: Tensor,
    y: Any,
    z2: Tensor,
    norm3: Affine,
    norm2: Affine,
    dl: Tensor | None = None,
    dz3: Tensor | None = None,
    affine: Tensor | None = None,
    sums: bool = False,
) -> Any:
    """Write ``dl`` and ``dz3``; returns the sums (:class:`.Rows`) that gamma and beta need."""
    geometry = Geometry.of(z3, True)
    divided = plan(geometry)
    parts: Any = partial_sums(2, geometry, divided, z3) if sums else (None, None)
    launch(
        calibration_kernels.calibration_gradients,
        divided.grid,
        go,
        z3,
        y,
        z2,
        dl,
        dz3,
        *norm3[:4],
        *norm2[:4],
        *_tables(z3, z2),
        *parts,
        *((None, None) if affine is None else affine.unbind()),
        norm3.share,
        *walk(geometry, divided),
        *_small(z3, z2),
        norm3.eps,
        norm2.eps,
        **tile(geometry, divided),
        RUNNING=norm3.running,
        RUNNING2=norm2.running,
    )
    return Rows(parts, divided) if sums else None


def cell_sums(dl: Tensor, small: Tensor) -> None:
    """Write the sums of ``dl`` over the positions that read the same cell of ``small``."""
    n, c, h, w = small.shape
    geometry, other = Geometry.of(dl, True), Geometry.of(small, True)
    rows, cols = cells(h, dl.shape[2], dl.device), cells(w, dl.shape[3], dl.device)
    channels = min(power_of_two(c), 64 if geometry.channels_last else 4)
    positions = min(power_of_two(h * w), 1024 // channels)
    grid = -(-c // channels), -(-h * w // positions), n
    where = dl.shape[3], w, *geometry.strides, *other.strides
    launch(
        calibration_kernels.cell_sums,
        grid,
        dl,
        small,
        rows.first,
        cols.first,
        h * w,
        c,
        *where,
        rows.most,
        cols.most,
        BP=positions,
        BC=channels,
    )


def _tables(z3: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    rows, cols = (cells(z2.shape[i], z3.shape[i], z3.device) for i in (2, 3))
    return rows.cell, cols.cell


def _small(z3: Tensor, z2: Tensor) -> tuple[int, ...]:
    return z3.shape[3], z2.shape[3], *Geometry.of(z2, True).strides
