"""The passes of a stem: each launches one kernel, see :mod:`.stem_kernels`."""

from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from . import stem_kernels
from .geometry import Geometry, Plan, plan_rows
from .launcher import launch
from .passes import MANY, Affine, Rows, partial_sums

DTYPES = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


def pooled_map(y: Tensor, padding: int, dtype: torch.dtype) -> Tensor:
    """A map to write to, pooled from y's size, in y's layout."""
    n, c, *size = y.shape
    last = y.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    pooled = ((side + padding) // 2 for side in size)
    return torch.empty(n, c, *pooled, dtype=dtype, device=y.device, memory_format=layout)


def pool(y: Tensor, norm: Affine, padding: int, out: Tensor | None, index: Tensor | None) -> None:
    """Write ``out``, the pooled map, and ``index``, which pixel of each window it is; or one of them."""
    pooled: Any = index if out is None else out
    geometry = Geometry.of(y, per_sample=True)
    divided = plan_rows(geometry, *pooled.shape[2:], programs=MANY)
    launch(
        stem_kernels.pool,
        divided.grid,
        y,
        out,
        index,
        *norm[:4],
        *_walk(y, pooled, geometry, divided),
        norm.eps,
        **_tile(geometry, divided),
        RUNNING=norm.running,
        PAD=padding,
        DTYPE=DTYPES[y.dtype],
    )


def gradients(
    go: Tensor,
    index: Tensor,
    y: Tensor,
    norm: Affine,
    padding: int,
    dy: Tensor | None = None,
    affine: Tensor | None = None,
    sums: bool = False,
) -> Any:
    """Write ``dy``; returns the sums (:class:`.Rows`) that gamma and beta need."""
    geometry = Geometry.of(y, per_sample=True)
    divided = plan_rows(geometry, *(-(-side // 2) for side in y.shape[2:]))
    parts: Any = partial_sums(2, geometry, divided, y) if sums else (None, None)
    launch(
        stem_kernels.pool_gradients,
        divided.grid,
        go,
        index,
        y,
        dy,
        *norm[:4],
        *parts,
        *((None, None) if affine is None else affine.unbind()),
        norm.share,
        *_walk(y, index, geometry, divided),
        norm.eps,
        **_tile(geometry, divided),
        RUNNING=norm.running,
        PAD=padding,
    )
    return Rows(parts, divided) if sums else None


def _walk(y: Tensor, pooled: Tensor, geometry: Geometry, divided: Plan) -> tuple[int, ...]:
    """A kernel's arguments from H to ``steps``."""
    (h, w), (h2, w2) = y.shape[2:], pooled.shape[2:]
    sn, sp, sc = geometry.strides
    tc = 1 if geometry.channels_last else h2 * w2
    strides = sn, w * sp, sp, sc, geometry.channels * h2 * w2, w2 * sp, tc
    return h, w, h2, w2, geometry.channels, *strides, divided.steps


def _tile(geometry: Geometry, divided: Plan) -> dict[str, Any]:
    return dict(
        BQ=divided.tile_positions, BC=divided.tile_channels, CL=geometry.channels_last, FULL=divided.full
    )
