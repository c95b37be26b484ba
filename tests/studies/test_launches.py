"""What launches cost: a step's launches are those that it makes, each way gets as many of them."""

import pytest
import torch
from torch import nn

from helpers.checkpoint_tools import tool
from helpers.launches import needs_a_tested_version
from inimg_mm.models import fused
from inimg_mm.models.fused import launcher

triton = pytest.importorskip('triton')
pytestmark = needs_a_tested_version


def test_launches_are_counted_and_nothing_stays():
    from inimg_mm.studies import launches

    norm, y = nn.BatchNorm2d(8), torch.randn(2, 8, 4, 4, requires_grad=True)
    ways, before = [], triton.runtime.driver._active

    def step():
        fused.norm_act(y, norm, nn.ReLU(), True).sum().backward()

    with launches.stand_in(lambda *args: ways.append(args[10] is None)):
        names = [kernel.__name__ for kernel, *_ in launches.launches_of(step)]
        assert ways == []
        found = launches.cost(step, rounds=2)
    assert names == ['moments', 'merge', 'apply', 'gradient_sums', 'affine_gradients', 'input_gradients']
    assert found.number == len(names)
    # the short way's first launch is Triton's; of the launches alone and of whole steps, four rounds each
    assert (ways.count(False), ways.count(True)) == (2 * 5 * len(names), 2 * 3 * len(names))
    assert all(value > 0 for pair in found[1:] for value in pair)
    assert triton.runtime.driver._active is before
    assert not any(kernel.device_caches for kernel in launches.kernels())
    assert not launcher.is_short()


def test_the_tool_refuses_what_it_cannot_measure(monkeypatch):
    monkeypatch.setattr(launcher, 'TESTED', ('3.0.0',))
    status, out, error = tool('benchmark_launches')
    assert (status, out) == (2, '')
    assert error.endswith('is not one of those tested (3.0.0)\n')
