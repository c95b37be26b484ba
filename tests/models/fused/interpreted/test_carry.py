"""The mean that a tail leaves to the next one."""

import importlib

import pytest
import torch
from torch import nn

from helpers.fused import LAYOUTS, Ending, beyond, distances, doubles, gate_of, maps, results, set_up
from inimg_mm.models.fused.carry import remembered


class Two(nn.Module):
    """Two blocks' ends, the second of which has the first's output as its shortcut."""

    def __init__(self, between=lambda out: out):
        super().__init__()
        self.ends = nn.ModuleList(Ending(6, gate_of('DoubleFC', 6), projected=i == 0) for i in range(2))
        self.between = between

    def forward(self, y, x):
        return self.ends[1](y, self.between(self.ends[0](y, x)))

    def plain(self, y, x):
        return self.ends[1].plain(y, self.between(self.ends[0].plain(y, x)))


@pytest.fixture
def taken(monkeypatch):
    """Whether each tail found its shortcut's mean."""
    found = []

    def spied(x):
        rows = remembered(x)
        found.append(rows is not None)
        return rows

    monkeypatch.setattr(importlib.import_module('inimg_mm.models.fused.tail'), 'remembered', spied)
    return found


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('mode', ['batch', 'running'])
def test_the_next_tail_takes_it(taken, mode, layout):
    module, twin = set_up(Two(), mode)
    inputs = maps(2, 6, 3, 5, layout=layout)
    far = distances(results(module, module, inputs), results(twin, twin.plain, doubles(inputs)))
    assert taken == [True]  # the first has a projection, whose mean nobody knows
    assert not beyond(1e-5, far)


def test_it_is_the_mean_of_what_was_stored():
    ending, _ = set_up(Ending(6, gate_of('DoubleFC', 6)), 'batch')
    out = ending(*maps(2, 6, 3, 5, dtype=torch.bfloat16))
    (means,) = remembered(out).parts
    torch.testing.assert_close(means, out.float().mean((2, 3)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('change', [lambda out: out.clone(), lambda out: out.mul_(2), lambda out: out[:]])
def test_any_other_tensor_is_walked_over(taken, change):
    module, twin = set_up(Two(change), 'running')
    inputs = maps(2, 6, 3, 5)
    with torch.no_grad():
        found, exact = module(*inputs), twin.plain(*doubles(inputs))
    assert taken == [False]
    assert not beyond(1e-5, distances({'out': found}, {'out': exact}))


def test_a_gate_of_one_stream_leaves_nothing():
    ending, _ = set_up(Ending(6, gate_of('SE', 6)), 'batch')
    assert remembered(ending(*maps(2, 6, 3, 5))) is None


def test_nothing_is_left_in_inference_mode(taken):
    module, _ = set_up(Two(), 'running')
    inputs = maps(2, 6, 3, 5)
    expected = module(*inputs)
    with torch.inference_mode():
        torch.testing.assert_close(module(*inputs), expected.detach())
    assert taken == [True, False]


def test_who_differentiates_by_the_output_sees_the_gate_s_part_too():
    module, twin = set_up(Two(), 'batch')
    inputs, kept = maps(2, 6, 3, 5), []
    for m in (module, twin):
        m.between = lambda out: kept.append(out) or out
    of_fused = torch.autograd.grad(module(*inputs).square().sum(), kept[0])
    of_plain = torch.autograd.grad(twin.plain(*doubles(inputs)).square().sum(), kept[1])
    assert not beyond(1e-5, distances(dict(enumerate(of_fused)), dict(enumerate(of_plain))))
