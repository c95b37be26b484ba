"""The passes of an inner-imaging gate: each launches one kernel, see :mod:`.imaging`."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import filter_kernels, image_kernels
from .excitation import layer_tile
from .geometry import power_of_two
from .imaging import MOST_BANKS, Picture
from .launcher import launch
from .passes import empty

ROWS = 64
"""About as many chunks as the patches of all samples are divided into, for one program to merge."""


class Condenser(NamedTuple):
    """What makes the map of an image; of patches of k values, in float64.

    Attributes:
        mean: Of the patches, (k,); zero with running statistics.
        covariance: (k, k); without values with running statistics.
        effective: The filter, (k,).
        constant: What is added to the map, (1,).
    """

    mean: Tensor
    covariance: Tensor
    effective: Tensor
    constant: Tensor


class Walk(NamedTuple):
    """How a sample's patches are divided into chunks of ``steps`` tiles."""

    chunks: int
    steps: int
    tile: int

    @classmethod
    def over(cls, picture: Picture, samples: int) -> 'Walk':
        """The division where there are so many samples."""
        tile = min(1024 // power_of_two(picture.values), 256, power_of_two(picture.length))
        tiles = -(-picture.length // tile)
        steps = -(-tiles // max(1, min(ROWS // samples, tiles)))
        return cls(-(-tiles // steps), steps, tile)


def effective_filter(picture: Picture, u: Tensor, v: Any, banks: list[Tensor]) -> Condenser:
    """The filter that stands for the banks; their running statistics follow."""
    n, k, length, call = len(u), picture.values, picture.length, picture.calls[0]
    walk = Walk.over(picture, n)
    rows = n * walk.chunks
    parts: tuple[Any, ...] = (None, None)
    if not call.running:
        parts = _empty(rows, k, like=u), _empty(rows, k * k, like=u)
        grid, tile = (k, walk.chunks, n), dict(BP=walk.tile)
        where = *_image(picture), picture.places[1], length, walk.steps
        launch(image_kernels.patch_moments, grid, u, v, *parts, *where, **_taps(picture), **tile)
    shapes = (k,), (0 if call.running else k, k), (k,), (1,)
    condenser = Condenser(*(_empty(*shape, like=u) for shape in shapes))
    launch(
        filter_kernels.effective_filter,
        (1, 1, 1),
        *parts,
        *condenser,
        *_of_banks([*banks[3 * i : 3 * i + 3], *own[1:5]] for i, own in enumerate(picture.calls)),
        rows,
        walk.chunks,
        length,
        walk.steps * walk.tile,
        float(n * length),
        call.eps,
        len(banks[0]),
        **_filters(picture, banks),
    )
    for buffer in (buffer for own in picture.calls for buffer in own[1:4]):
        if buffer is not None and not call.running:
            torch.autograd.graph.increment_version(buffer)
    return condenser


def excite(
    picture: Picture, u: Tensor, v: Any, condenser: Condenser, w1: Tensor, w2: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The condensed map (N, L), the code (N, R), and the gate (N, C)."""
    (n, c), r, length = u.shape, len(w1), picture.length
    outputs = empty(n, length, like=u), empty(n, r, like=u), empty(n, c, like=u)
    mean, _, effective, constant = condenser
    where = *_image(picture), picture.places[1], length, r
    tile = layer_tile(r, max(c, length), False)
    given = u, v, w1, w2, mean, effective, constant
    launch(image_kernels.excite_image, (n, 1, 1), *given, *outputs, *where, **_taps(picture), **tile)
    return outputs


def filter_gradients(
    picture: Picture, u: Tensor, v: Any, dmap: Tensor, condenser: Condenser, banks: list[Tensor]
) -> tuple[list[Tensor], tuple[Tensor, Tensor] | None]:
    """The gradients of the banks' parameters, and of the patches' covariance and mean over their number."""
    n, k, length, call = len(u), picture.values, picture.length, picture.calls[0]
    walk = Walk.over(picture, n)
    rows = n * walk.chunks
    sums = _empty(rows, k + 1, like=u)
    where = *_image(picture), picture.places[1], length, walk.steps
    grid, taps = (walk.chunks, n, 1), _taps(picture)
    launch(image_kernels.filter_sums, grid, u, v, dmap, condenser.mean, sums, *where, **taps, BP=walk.tile)
    moments = None if call.running else (_empty(k, k, like=u), _empty(1, like=u))
    own = [torch.empty_like(weight) for weight in banks]
    launch(
        filter_kernels.filter_gradients,
        (1, 1, 1),
        sums,
        condenser.covariance,
        *(moments or (None, None)),
        *_of_banks(
            [*banks[3 * i : 3 * i + 2], *calls[1:3], *own[3 * i : 3 * i + 3]]
            for i, calls in enumerate(picture.calls)
        ),
        rows,
        float(n * length),
        call.eps,
        len(banks[0]),
        **_filters(picture, banks),
    )
    return own, moments


def image_gradients(
    picture: Picture,
    u: Tensor,
    v: Any,
    dmap: Tensor,
    condenser: Condenser,
    moments: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor | None]:
    """The gradients of the means."""
    n, c = u.shape
    du, dv = empty(n, c, like=u), None if v is None else empty(n, c, like=u)
    tile = min(1024 // power_of_two(picture.values), 128, power_of_two(c))
    grid = -(-c // tile), picture.image.streams, n
    given = u, v, dmap, condenser.mean, condenser.effective, *(moments or (None, None)), du, dv
    where = *_image(picture), *picture.places
    launch(image_kernels.image_gradients, grid, *given, *where, **_taps(picture), BP=tile)
    return du, dv


def _empty(*shape: int, like: Tensor) -> Tensor:
    return empty(*shape, like=like, dtype=torch.float64)


def _image(picture: Picture) -> tuple[int, int, int]:
    """Channels, and height and width of the image."""
    return picture.image.channels, *picture.image.shape


def _taps(picture: Picture) -> dict[str, int]:
    left, _, top, _ = picture.window.padding
    k = picture.values
    sizes = dict(K=k, KP=power_of_two(k), KW=picture.window.width)
    return dict(**sizes, TOP=top, LEFT=left, STREAMS=picture.image.streams)


def _filters(picture: Picture, banks: list[Tensor]) -> dict[str, Any]:
    """The compile-time arguments of a program that has all filters."""
    k, kp, kw = picture.values, power_of_two(picture.values), picture.window.width
    left, _, top, _ = picture.window.padding
    constants: dict[str, Any] = dict(K=k, KP=kp, KW=kw, BANKS=len(picture.calls))
    for i in range(MOST_BANKS):
        place: tuple[int | None, ...] = (None,) * 4
        if i < len(picture.calls):
            padding = picture.paddings[i]
            place = *banks[3 * i].shape[2:], top - padding[2], left - padding[0]
        ending = str(i + 1) if i else ''
        constants |= {
            f'{name}{ending}': at for name, at in zip(('FH', 'FW', 'DOWN', 'RIGHT'), place, strict=True)
        }
    filters = min(64, 2048 // (kp * kp))
    tile = dict(BR=min(64, 4096 // (kp * kp)), BM=min(filters, power_of_two(len(banks[0]))))
    return dict(**constants, **tile, RUNNING=picture.calls[0].running, num_warps=8)


def _of_banks(given: Any) -> list[Any]:
    """Each bank's arguments, one after the other, and None for banks that are not there."""
    banks = list(given)
    return [x for bank in banks for x in bank] + [None] * (len(banks[0]) * (MOST_BANKS - len(banks)))
