"""Inputs on which sums of squares lose everything: finite, and no further from float64 than torch is."""

import copy

import pytest
import torch

from helpers.fused import Ending, beyond, distances, doubles, gate_of, maps, results, set_up

INPUTS = {
    'large': lambda x: x * 1e4,
    'far from zero': lambda x: x * 0.1 + 100,
    'constant': lambda x: torch.full_like(x, 3.0),
    'nearly constant': lambda x: x * 1e-3 + 1,
    'one sample far away': lambda x: x + torch.tensor([1000.0, 0, 0])[:, None, None, None],
}


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('case', INPUTS)
def test_ill_conditioned_inputs(case, layout):
    ending, twin = set_up(Ending(6, gate_of('DoubleFC', 6), projected=True), 'batch')
    eager = copy.deepcopy(ending)
    inputs = [INPUTS[case](x.detach()).contiguous(memory_format=layout) for x in maps(3, 6, 5, 4)]
    inputs = [x.requires_grad_() for x in inputs]
    exact = results(twin, twin.plain, doubles(inputs))
    found = results(ending, ending, inputs)
    assert all(value.isfinite().all() for value in found.values())
    again = [x.detach().clone().requires_grad_() for x in inputs]
    theirs = distances(results(eager, eager.plain, again), exact)
    assert not beyond(1e-5, distances(found, exact), theirs)


def test_a_relu_that_shuts_everything_sends_nothing_back():
    ending, _ = set_up(Ending(6, gate_of('SE', 6)), 'running')
    y, x = maps(2, 6, 3, 4)
    with torch.no_grad():
        x -= 1000
    found = results(ending, ending, (y, x))
    for name in ('out', 'input 0', 'input 1', 'norm.weight', 'norm.bias', 'gate.conv1.conv.weight'):
        assert not found[name].any(), name


def test_not_a_number_is_passed_on():
    ending, _ = set_up(Ending(4), 'running')
    y, x = maps(2, 4, 3, 3)
    with torch.no_grad():
        y[0, 1, 2, 2] = float('nan')
    assert ending(y, x).isnan().sum() == 1
    ending.train()
    assert ending(y, x).isnan().flatten(2).all(2).all(0).tolist() == [False, True, False, False]
