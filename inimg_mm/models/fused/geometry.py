"""How a map is walked over: its layout, and tiles that follow from shape, layout and dtype alone.

Nothing is timed and nothing is asked of the card, so that the order of every sum, and with it the result, is
the same from run to run and after a resume.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

PROGRAMS = 132 * 8
"""About as many programs as a pass that sums is divided into: eight for each multiprocessor of an H100."""

LARGEST_OFFSET = 2**31 - 1
"""Offsets within a sample are 32-bit integers."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A dense map (N, C, H, W) in one of two layouts.

    Attributes:
        samples: N; 1 where all samples of a channels-last map are walked over as one.
        channels: C.
        positions: H W, times the samples that are walked over as one.
        channels_last: Whether channels are next to each other in memory, otherwise positions are.
        item_size: Bytes of a value.
    """

    samples: int
    channels: int
    positions: int
    channels_last: bool
    item_size: int

    @classmethod
    def of(cls, y: Tensor, per_sample: bool) -> 'Geometry':
        """The geometry of ``y``, which :func:`dense` returned; ``per_sample`` keeps its samples apart."""
        n, c, h, w = y.shape
        last = y.is_contiguous(memory_format=torch.channels_last)
        if last and not per_sample and y.numel() <= LARGEST_OFFSET:
            return cls(1, c, n * h * w, last, y.element_size())
        return cls(n, c, h * w, last, y.element_size())

    @property
    def strides(self) -> tuple[int, int, int]:
        """Elements from one sample, position and channel to the next."""
        c, p = self.channels, self.positions
        return (c * p, c, 1) if self.channels_last else (c * p, 1, p)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a pass is divided: a grid of programs, each of which walks ``steps`` tiles."""

    grid: tuple[int, int, int]
    steps: int
    tile_positions: int
    tile_channels: int
    full: bool

    @property
    def chunks(self) -> int:
        """Chunks of a sample, and so rows of partial sums."""
        return self.grid[1]

    @property
    def chunk(self) -> int:
        """Positions of a chunk."""
        return self.steps * self.tile_positions


@lru_cache(maxsize=4096)
def plan(geometry: Geometry, values: int = 2048, programs: int = PROGRAMS) -> Plan:
    """Divide a pass.

    A kernel is compiled for each tile. Maps of 512 and more positions share one; smaller ones have at most
    nine more in NCHW and five more in channels-last. In NCHW each is compiled twice: for maps whose size 16
    divides, too; that of the large ones once more, for sizes that 8 divides.

    Args:
        geometry: The map's.
        values: Values of a tile.
        programs: About as many programs, where the map is large enough.
    """
    if geometry.channels_last:
        channels = min(power_of_two(geometry.channels), 128 if geometry.item_size == 2 else 64)
        positions = max(1, min(values // channels, power_of_two(geometry.positions)))
    else:
        positions = min(power_of_two(geometry.positions), 512)
        channels = max(1, min(values // positions, power_of_two(geometry.channels)))
    return _divided(geometry, positions, channels, -(-geometry.positions // positions), programs)


@lru_cache(maxsize=4096)
def plan_rows(geometry: Geometry, rows: int, columns: int, programs: int = PROGRAMS) -> Plan:
    """Divide a pass whose tiles are pieces of a row, of as few values as wide accesses need.

    A kernel is compiled for each of at most seven tiles in NCHW, five in channels-last of 64 channels. In
    NCHW each is compiled up to three times: for rows whose length 16 divides, too.

    Args:
        geometry: The map's, samples apart.
        rows: Of what is walked over.
        columns: Of what is walked over; a tile's positions are some of them.
        programs: About as many programs, where the map is large enough.
    """
    if geometry.channels_last:
        channels = min(power_of_two(geometry.channels), 128 if geometry.item_size == 2 else 64)
        wide = min(2048 // geometry.item_size // channels, power_of_two(columns))
    else:
        wide = min(power_of_two(columns), 64)
        channels = min(512 // wide, power_of_two(geometry.channels))
    return _divided(geometry, wide, channels, rows * -(-columns // wide), programs)


def _divided(geometry: Geometry, positions: int, channels: int, tiles: int, programs: int) -> Plan:
    """The plan for ``tiles`` tiles a sample and block of channels."""
    blocks = -(-geometry.channels // channels)
    wanted = min(max(1, programs // (geometry.samples * blocks)), tiles)
    if geometry.samples > 1:
        wanted = min(wanted, 128)
    steps = -(-tiles // wanted)
    grid = blocks, -(-tiles // steps), geometry.samples
    return Plan(grid, steps, positions, channels, geometry.channels % channels == 0)


def power_of_two(value: int) -> int:
    """The least power of two that is not below ``value``."""
    return 1 << max(0, value - 1).bit_length()


def dense(y: Tensor) -> Tensor:
    """``y`` without gaps: as it is where it is channels-last or contiguous."""
    if y.is_contiguous() or y.is_contiguous(memory_format=torch.channels_last):
        return y
    return y.contiguous(memory_format=torch.channels_last if y.stride(1) == 1 else torch.contiguous_format)


def like(y: Tensor, x: Tensor) -> Tensor:
    """``x`` in the layout of ``y``; no copy where it has it."""
    last = y.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
