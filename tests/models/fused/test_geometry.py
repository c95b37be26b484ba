"""How maps are divided: every value once, and no more kernels than a few for images of any size."""

import pytest
import torch

from inimg_mm.models.fused.calibrate import cells
from inimg_mm.models.fused.geometry import Geometry, dense, like, plan, plan_rows

SIZES = [(h, w) for h in (1, 2, 7, 13, 25, 50, 100, 200) for w in (1, 3, 14, 42, 84, 168, 336)]


@pytest.mark.parametrize('last', [False, True])
@pytest.mark.parametrize('size', SIZES[::5])
@pytest.mark.parametrize(('samples', 'channels'), [(1, 3), (2, 64), (64, 2048)])
def test_every_value_is_in_one_tile(samples, channels, size, last):
    geometry = Geometry(samples, channels, size[0] * size[1], last, 2)
    divided = plan(geometry)
    blocks, chunks, apart = divided.grid
    assert (blocks - 1) * divided.tile_channels < channels <= blocks * divided.tile_channels
    assert (chunks - 1) * divided.chunk < geometry.positions <= chunks * divided.chunk
    assert apart == samples
    assert divided.full == (channels % divided.tile_channels == 0)


@pytest.mark.parametrize(('last', 'most'), [(False, 7), (True, 5)])
def test_rows_are_divided_into_pieces(last, most):
    tiles = set()
    for rows, columns in SIZES:
        geometry = Geometry(2, 70, 4 * rows * columns, last, 2)
        divided = plan_rows(geometry, rows, columns)
        pieces = rows * -(-columns // divided.tile_positions)
        assert (divided.chunks - 1) * divided.steps < pieces <= divided.chunks * divided.steps
        assert not divided.full
        tiles.add((divided.tile_positions, divided.tile_channels))
    assert len(tiles) <= most


@pytest.mark.parametrize('channels', [64, 256, 2048])
@pytest.mark.parametrize(('last', 'most'), [(False, 10), (True, 6)])
def test_images_of_any_size_need_few_kernels(channels, last, most):
    def tiles(least):
        plans = [plan(Geometry(2, channels, h * w, last, 2)) for h, w in SIZES if h * w >= least]
        return {(p.tile_positions, p.tile_channels) for p in plans}

    assert len(tiles(1)) <= most
    assert len(tiles(512)) == 1


def test_samples_are_walked_over_as_one_where_that_is_possible():
    y = torch.ones(2, 3, 4, 5)
    assert Geometry.of(y, per_sample=False).samples == 2  # NCHW keeps them apart
    last = y.contiguous(memory_format=torch.channels_last)
    assert Geometry.of(last, per_sample=False) == Geometry(1, 3, 40, True, 4)
    assert Geometry.of(last, per_sample=True) == Geometry(2, 3, 20, True, 4)


def test_gaps_are_closed_in_the_layout_that_is_nearer():
    y = torch.ones(2, 3, 4, 6)
    assert dense(y) is y
    assert dense(y[..., ::2]).is_contiguous()
    last = y.contiguous(memory_format=torch.channels_last)
    assert dense(last[..., ::2]).is_contiguous(memory_format=torch.channels_last)
    assert like(last, y).is_contiguous(memory_format=torch.channels_last)
    assert like(y, y) is y


def test_tables_of_cells_stay_where_they_are():
    """A graph that was recorded reads them, whatever sizes come afterwards."""
    device = torch.device('cpu')
    first = cells(3, 12, device)
    for positions in range(1, 400):
        cells(1, positions, device)
    assert cells(3, 12, device) is first
