import pytest
import torch
from torch import nn

from helpers.fused import LAYOUTS, MODES, Ending, beyond, distances, doubles, gate_of, maps, results, set_up
from inimg_mm.models.attention import SE, DoubleFC
from inimg_mm.models.fused import tail_fuses
from inimg_mm.models.fused.excitation import layers_of

GATES = [None, 'SE', 'DoubleFC', 'codes']


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('projected', [False, True])
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('kind', GATES)
def test_equals_torch_in_float64(kind, mode, projected, layout):
    ending, twin = set_up(Ending(10, gate_of(kind, 10), projected), mode)
    inputs = maps(3, 10, 4, 7, layout=layout)
    found = results(ending, ending, inputs)
    assert found['out'].grad_fn.name() == 'TailBackward'
    far = distances(found, results(twin, twin.plain, doubles(inputs)))
    assert not beyond(1e-5, far)


@pytest.mark.parametrize('shape', [(2, 130, 3, 1), (4, 3, 1, 1), (1, 16, 5, 5), (2, 6, 27, 24)])
@pytest.mark.parametrize('kind', [None, 'DoubleFC'])
def test_any_size(kind, shape):
    ending, twin = set_up(Ending(shape[1], gate_of(kind, shape[1]), projected=True), 'running')
    inputs = maps(*shape)
    far = distances(results(ending, ending, inputs), results(twin, twin.plain, doubles(inputs)))
    assert not beyond(1e-5, far)


@pytest.mark.parametrize('gate', [SE(70, 2), SE(70, 2, bias=False), SE(20, 20), DoubleFC(70, 2)])
def test_gates_of_any_width(gate):
    channels = gate.last_layer.weight.shape[0]
    ending, twin = set_up(Ending(channels, gate), 'batch')
    assert layers_of(ending.gate) is not None
    inputs = maps(3, channels, 3, 3)
    far = distances(results(ending, ending, inputs), results(twin, twin.plain, doubles(inputs)))
    assert not beyond(1e-5, far)


def test_a_gate_whose_layers_are_looked_at_is_called():
    for part in ('conv1', 'conv1.conv', 'conv1.activate', 'conv2.conv'):
        ending, _ = set_up(Ending(6, gate_of('SE', 6)), 'batch')
        seen = []
        ending.gate.get_submodule(part).register_forward_hook(lambda *_, seen=seen: seen.append(1))
        assert layers_of(ending.gate) is None
        ending(*maps(2, 6, 3, 3))
        assert len(seen) == 1
    assert layers_of(SE(6, 2).half()) is None
    assert layers_of(gate_of('folded', 10)) is None


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('kind', [None, 'SE'])
def test_drop_path_draws_what_it_draws_without(kind, mode):
    ending, twin = set_up(Ending(6, gate_of(kind, 6), drop=0.5), mode)
    inputs = maps(8, 6, 3, 4)
    far = distances(results(ending, ending, inputs), results(twin, twin.plain, doubles(inputs)))
    assert not beyond(1e-5, far)


@pytest.mark.parametrize('kind', GATES)
def test_half_precision_is_as_exact_as_torch(kind):
    inputs = maps(4, 10, 5, 3, dtype=torch.bfloat16)
    ending, twin = set_up(Ending(10, gate_of(kind, 10), projected=True), 'batch')
    eager, _ = set_up(Ending(10, gate_of(kind, 10), projected=True), 'batch')
    exact = results(twin, twin.plain, doubles(inputs))
    ours = distances(results(ending, ending, inputs), exact)
    again = [x.detach().clone().requires_grad_() for x in inputs]
    theirs = distances(results(eager, eager.plain, again), exact)
    assert not beyond(torch.finfo(torch.bfloat16).eps / 2, ours, theirs)


@pytest.mark.parametrize('dtypes', [(torch.bfloat16, torch.float32), (torch.float32, torch.float16)])
@pytest.mark.parametrize('kind', [None, 'DoubleFC'])
def test_the_output_has_the_promoted_dtype(kind, dtypes):
    ending, twin = set_up(Ending(6, gate_of(kind, 6)), 'batch')
    inputs = [maps(2, 6, 4, 4, number=1, dtype=d, seed=i)[0] for i, d in enumerate(dtypes)]
    out = results(ending, ending, inputs)
    assert out['out'].dtype == torch.float32
    assert [x.grad.dtype for x in inputs] == list(dtypes)
    far = distances(out, results(twin, twin.plain, doubles(inputs)))
    assert not beyond(1e-2, far)


def test_norms_in_different_modes_are_not_folded():
    ending, twin = set_up(Ending(6, gate_of('SE', 6), projected=True), 'batch')
    ending.norm2.eval()
    twin.norm2.eval()
    inputs = maps(2, 6, 4, 4)
    far = distances(results(ending, ending, inputs), results(twin, twin.plain, doubles(inputs)))
    assert not beyond(1e-5, far)


@pytest.mark.parametrize('mode', ['batch', 'running'])
@pytest.mark.parametrize('kind', [None, 'SE', 'DoubleFC'])
def test_second_derivatives_are_those_of_the_formula(kind, mode):
    ending, twin = set_up(Ending(6, gate_of(kind, 6), projected=True), mode)
    inputs = maps(2, 6, 3, 4)

    def penalty(module, formula, inputs):
        wanted = [*inputs, *module.parameters()]
        first = torch.autograd.grad(formula(*inputs).square().sum(), wanted, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), wanted)

    found, exact = penalty(ending, ending, inputs), penalty(twin, twin.plain, doubles(inputs))
    far = distances(dict(enumerate(found)), dict(enumerate(exact)))
    assert not beyond(1e-4, far)


def test_a_gate_whose_weights_alone_are_asked_for():
    ending, twin = set_up(Ending(6, gate_of('SE', 6)), 'batch')
    inputs = maps(2, 6, 3, 4)
    weight, exact = (m.gate.conv1.conv.weight for m in (ending, twin))
    (found,) = torch.autograd.grad(ending(*inputs).sum(), weight)
    (expected,) = torch.autograd.grad(twin.plain(*doubles(inputs)).sum(), exact)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_two_gradients_from_one_graph_are_equal():
    ending, _ = set_up(Ending(6, gate_of('DoubleFC', 6)), 'batch')
    inputs = maps(2, 6, 3, 4)
    out = ending(*inputs).sum()
    first, second = (torch.autograd.grad(out, inputs, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_is_not_fused_is_told():
    ending, _ = set_up(Ending(6, gate_of('SE', 6)), 'batch')
    y, x = maps(2, 6, 3, 4)
    parts = ending.norm, ending.gate, ending.drop
    assert tail_fuses(y, x, *parts, ending.relu, True)
    assert not tail_fuses(y, x, *parts, ending.relu, 'auto')  # on a CPU
    assert not tail_fuses(y, x, *parts, nn.GELU(), True)
    assert not tail_fuses(y, x[:, :, :1], *parts, ending.relu, True)
    assert not tail_fuses(y, x.double(), *parts, ending.relu, True)
    assert not tail_fuses(y, x, ending.norm, nn.Sigmoid(), ending.drop, ending.relu, True)
    assert not tail_fuses(y, x, ending.norm, ending.gate, nn.Dropout(), ending.relu, True)
    ending.gate.register_forward_hook(lambda *_: None)
    assert not tail_fuses(y, x, *parts, ending.relu, True)


def test_the_shortcut_need_not_have_the_layout_of_the_branch():
    ending, twin = set_up(Ending(6, gate_of('DoubleFC', 6)), 'batch')
    y, x = maps(2, 6, 3, 4)
    mixed = [y.detach().contiguous(memory_format=torch.channels_last).requires_grad_(), x]
    far = distances(results(ending, ending, mixed), results(twin, twin.plain, doubles(mixed)))
    assert not beyond(1e-5, far)
