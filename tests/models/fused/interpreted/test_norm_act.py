import pytest
import torch
from torch import nn

from helpers.fused import LAYOUTS, MODES, beyond, distances, doubles, maps, results, set_up
from inimg_mm.models.fused import norm_act

SHAPES = [(3, 5, 4, 7), (2, 16, 4, 4), (2, 6, 27, 24), (1, 3, 1, 3), (2, 130, 3, 1), (5, 4, 1, 1)]
"""Odd sizes, whole tiles, 8 * 81 pixels, one sample and row, more channels than a tile, maps of one pixel."""


def both(shape, mode, act, layout=torch.contiguous_format, dtype=torch.float32):
    norm, twin = set_up(nn.BatchNorm2d(shape[1]), mode)
    inputs = maps(*shape, number=1, layout=layout, dtype=dtype)
    exact = results(twin, lambda y: twin(y) if act is None else act(twin(y)), doubles(inputs))
    return norm, inputs, exact


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('shape', SHAPES)
def test_equals_torch_in_float64(shape, mode, layout):
    act = nn.ReLU(inplace=True)
    norm, inputs, exact = both(shape, mode, act, layout)
    found = results(norm, lambda y: norm_act(y, norm, act, True), inputs)
    assert found['out'].grad_fn.name() == 'NormActBackward'
    assert found['out'].is_contiguous(memory_format=layout)
    assert not beyond(1e-5, distances(found, exact))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_as_exact_as_torch(dtype):
    norm, inputs, exact = both((4, 6, 5, 3), 'batch', nn.ReLU(), dtype=dtype)
    eager, _ = set_up(nn.BatchNorm2d(6), 'batch')
    ours = distances(results(norm, lambda y: norm_act(y, norm, nn.ReLU(), True), inputs), exact)
    again = [x.detach().clone().requires_grad_() for x in inputs]
    theirs = distances(results(eager, lambda y: eager(y).relu(), again), exact)
    assert not beyond(torch.finfo(dtype).eps / 2, ours, theirs)


@pytest.mark.parametrize('mode', MODES)
def test_a_norm_alone(mode):
    norm, inputs, exact = both((3, 5, 4, 7), mode, None)
    found = results(norm, lambda y: norm_act(y, norm, None, True), inputs)
    assert not beyond(1e-5, distances(found, exact))


def test_statistics_are_counted_and_their_versions_follow():
    norm, _ = set_up(nn.BatchNorm2d(5), 'batch')
    before = [buffer._version for buffer in norm.buffers()]
    for _ in range(2):
        norm_act(*maps(2, 5, 3, 3, number=1), norm, None, True)
    assert norm.num_batches_tracked == 2
    assert all(buffer._version >= old + 2 for buffer, old in zip(norm.buffers(), before, strict=True))


def test_no_statistics_are_kept_where_the_norm_keeps_none():
    norm = nn.BatchNorm2d(5, track_running_stats=False).eval()
    (y,) = maps(2, 5, 3, 3, number=1)
    out = norm_act(y, norm, None, True)
    assert out.grad_fn.name() == 'NormActBackward'
    torch.testing.assert_close(out, norm(y))


def test_a_frozen_input_gets_no_gradient_and_the_weights_do():
    norm, _ = set_up(nn.BatchNorm2d(5), 'batch')
    y = maps(2, 5, 3, 3, number=1)[0].detach()
    norm_act(y, norm, nn.ReLU(), True).sum().backward()
    assert norm.weight.grad is not None
    assert y.grad is None


def test_a_map_with_gaps_is_copied_and_keeps_its_gradient():
    norm, twin = set_up(nn.BatchNorm2d(5), 'batch')
    (y,) = maps(2, 5, 3, 8, number=1)
    norm_act(y[..., ::2], norm, nn.ReLU(), True).square().sum().backward()
    (exact,) = doubles([y])
    twin(exact[..., ::2]).relu().square().sum().backward()
    assert distances({'y': y.grad}, {'y': exact.grad})['y'] < 1e-5
