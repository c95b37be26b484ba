import copy

import pytest
import torch
from torch import nn

from helpers.fused import LAYOUTS, MODES, beyond, distances, doubles, maps, results, set_up
from inimg_mm.models.fused import norms, stem, stem_obstacle

POOLS = {'padded': nn.MaxPool2d(3, 2, 1), 'rounded up': nn.MaxPool2d(3, 2, ceil_mode=True)}


class Stem(nn.Module):
    def __init__(self, channels, pool='padded', recompute=False):
        super().__init__()
        self.norm, self.act, self.pool = nn.BatchNorm2d(channels), nn.ReLU(inplace=True), POOLS[pool]
        self.recompute = recompute

    def forward(self, y):
        return stem(y, self.norm, self.act, self.pool, True, self.recompute)

    def plain(self, y):
        return self.pool(self.norm(y).relu())


CASES = [((2, 5, 5, 7), mode, 'padded') for mode in MODES]
CASES += [((1, 130, 2, 3), 'batch', 'rounded up'), ((2, 3, 5, 4), 'running', 'rounded up')]
CASES += [((1, 8, 4, 8), 'batch', 'padded'), ((3, 4, 1, 1), 'batch', 'padded')]


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize(('shape', 'mode', 'pool'), CASES)
def test_equals_torch_in_float64(shape, mode, pool, layout):
    module, twin = set_up(Stem(shape[1], pool), mode)
    inputs = maps(*shape, number=1, layout=layout)
    found = results(module, module, inputs)
    assert found['out'].grad_fn.name() == 'StemBackward'
    assert found['out'].is_contiguous(memory_format=layout)
    assert not beyond(1e-5, distances(found, results(twin, twin.plain, doubles(inputs))))


@pytest.mark.parametrize(
    ('dtype', 'pool', 'layout'),
    [
        (torch.float32, 'padded', LAYOUTS[0]),
        (torch.float16, 'padded', LAYOUTS[1]),
        (torch.bfloat16, 'padded', LAYOUTS[0]),
        (torch.float16, 'rounded up', LAYOUTS[0]),
        (torch.float32, 'rounded up', LAYOUTS[1]),
    ],
)
def test_ties_go_to_torch_s_pixel(dtype, pool, layout):
    module, _ = set_up(Stem(4, pool), 'frozen')
    with torch.no_grad():
        module.norm.weight.copy_(torch.tensor([1.0, 1e-4, -1.0, 0.0]))
        module.norm.bias.add_(1)
    generator = torch.Generator().manual_seed(0)
    # the second channel's three values are equal once they are rounded to 16 bits
    values = torch.randint(0, 3, (1, 4, 5, 6), generator=generator).to(dtype)
    inputs = [values.contiguous(memory_format=layout).requires_grad_() for _ in range(2)]
    ours, theirs = module(inputs[0]), module.plain(inputs[1])
    grad = torch.arange(ours.numel(), dtype=torch.float32).remainder(61).add(1).view(ours.shape).to(dtype)
    torch.autograd.backward([ours, theirs], [grad, grad])
    close = dict(
        rtol=torch.finfo(dtype).eps, atol=0
    )  # the interpreter does not round bfloat16 as a card does
    torch.testing.assert_close(ours, theirs, **close)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, **close)


@pytest.mark.parametrize('pool', POOLS)
def test_a_not_a_number_goes_where_torch_lets_it_go(pool):
    module, _ = set_up(Stem(3, pool), 'frozen')
    inputs = [y.repeat(2, 1, 1, 1).detach() for y in maps(1, 3, 7, 7, number=1)] * 2
    inputs = [y.clone() for y in inputs]
    for y in inputs:
        y[0, 1, 3, 3] = y[0, 1, 4, 4] = y[1, 2, 0, 0] = float('nan')
        y[1, 0, 2:4, 2:4] = float('inf')
        y.requires_grad_()
    ours, theirs = module(inputs[0]), module.plain(inputs[1])
    torch.autograd.backward([ours, theirs], [torch.ones_like(ours)] * 2)
    torch.testing.assert_close(ours, theirs, equal_nan=True)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, equal_nan=True)
    module.train()
    assert module(inputs[0]).isnan().flatten(2).all(2).all(0).tolist() == [True, True, True]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_as_exact_as_torch(dtype):
    module, twin = set_up(Stem(6), 'batch')
    eager = copy.deepcopy(module)
    inputs = maps(3, 6, 6, 5, number=1, dtype=dtype)
    exact = results(twin, twin.plain, doubles(inputs))
    ours = distances(results(module, module, inputs), exact)
    again = [x.detach().clone().requires_grad_() for x in inputs]
    theirs = distances(results(eager, eager.plain, again), exact)
    assert not beyond(torch.finfo(dtype).eps / 2, ours, theirs)


INPUTS = {
    'large': lambda y: y * 1e4,
    'far from zero': lambda y: y * 0.1 + 20,
    'constant': lambda y: torch.full_like(y, 3.0),
    'nearly constant': lambda y: y * 1e-3 + 1,
    'one sample': lambda y: y[:1],
}


@pytest.mark.parametrize('case', INPUTS)
def test_ill_conditioned_inputs(case):
    module, twin = set_up(Stem(6), 'batch')
    eager = copy.deepcopy(module)
    inputs = [INPUTS[case](y.detach()).requires_grad_() for y in maps(3, 6, 5, 4, number=1)]
    exact = results(twin, twin.plain, doubles(inputs))
    found = results(module, module, inputs)
    assert all(value.isfinite().all() for value in found.values())
    again = [x.detach().clone().requires_grad_() for x in inputs]
    theirs = distances(results(eager, eager.plain, again), exact)
    assert not beyond(1e-5, distances(found, exact), theirs)


def test_a_relu_that_shuts_everything_sends_nothing_back():
    module, _ = set_up(Stem(4), 'running')
    (y,) = maps(2, 4, 5, 5, number=1)
    with torch.no_grad():
        module.norm.bias.fill_(-1000)
    found = results(module, module, [y])
    assert not any(found[name].any() for name in ('out', 'input 0', 'norm.weight', 'norm.bias'))


@pytest.mark.parametrize(('mode', 'pool'), [('batch', 'padded'), ('frozen', 'rounded up')])
def test_recomputing_changes_nothing(mode, pool):
    inputs = maps(2, 5, 4, 5, number=1)
    found = []
    for recompute in (False, True):
        module, _ = set_up(Stem(5, pool, recompute), mode)
        found.append(results(module, module, [y.detach().clone().requires_grad_() for y in inputs]))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_second_derivatives_are_those_of_the_formula():
    module, twin = set_up(Stem(3), 'batch')
    inputs = maps(2, 3, 4, 5, number=1)

    def penalty(module, formula, inputs):
        wanted = [*inputs, *module.parameters()]
        first = torch.autograd.grad(formula(*inputs).square().sum(), wanted, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), wanted)

    found, exact = penalty(module, module, inputs), penalty(twin, twin.plain, doubles(inputs))
    assert not beyond(1e-4, distances(dict(enumerate(found)), dict(enumerate(exact))))


def test_nothing_is_kept_without_gradients():
    module, twin = set_up(Stem(3), 'running')
    (y,) = maps(2, 3, 4, 4, number=1)
    with torch.no_grad():
        out = module(y)
    assert not out.requires_grad
    torch.testing.assert_close(out.double(), twin.plain(y.double()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ('part', 'module'),
    [
        ('pool', nn.MaxPool2d(2)),
        ('pool', nn.MaxPool2d(3, 2)),
        ('pool', nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
        ('pool', nn.MaxPool2d(3, 2, 1, dilation=2)),
        ('pool', nn.AvgPool2d(3, 2, 1)),
        ('act', nn.SiLU()),
        ('norm', nn.GroupNorm(2, 4)),
    ],
    ids=str,
)
def test_what_is_another_stem_is_computed_as_it_is(part, module):
    whole, _ = set_up(Stem(4), 'batch')
    setattr(whole, part, module)
    assert stem_obstacle(whole.norm, whole.act, whole.pool, True)
    (y,) = maps(2, 4, 7, 6, number=1)
    torch.testing.assert_close(whole(y), whole.pool(whole.act(whole.norm(y))))


def test_a_hook_on_the_pool_is_called():
    module, seen = set_up(Stem(4), 'batch')[0], []
    module.pool = copy.deepcopy(module.pool)
    module.pool.register_forward_hook(lambda *_: seen.append(1))
    module(*maps(2, 4, 5, 5, number=1))
    assert seen == [1]


def test_a_map_too_small_for_its_windows_is_torch_s_error():
    module, _ = set_up(Stem(4, 'rounded up'), 'batch')
    with pytest.raises(RuntimeError, match='Output size is too small'):
        module(*maps(2, 4, 1, 5, number=1))


def test_statistics_of_several_processes_take_true(monkeypatch):
    monkeypatch.setattr(norms, '_group', lambda norm: object())
    parts = nn.SyncBatchNorm(4), nn.ReLU(), POOLS['padded']
    assert 'takes fused=True' in stem_obstacle(*parts, 'auto')
    assert stem_obstacle(*parts, True) is None
