"""The arithmetic of inner-imaging gates, beside the gates' own."""

import copy

import pytest
import torch
from torch import nn

from helpers.fused import MODES, Ending, beyond, distances, doubles, gate_of, maps, results, set_up
from inimg_mm.models.attention import InnerImaging
from inimg_mm.models.fused import image_passes
from inimg_mm.models.fused.imaging import excite_image, picture_of

VIEWS = ['pair_2x1', 'pair_1x1', 'one_stream', 'two_banks', 'folded']
CHANNELS = 10


class Alone(nn.Module):
    """A gate on means."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def forward(self, *means):
        picture = picture_of(self.gate, means[0])
        assert picture is not None
        return excite_image(list(means), self.gate, picture)

    def plain(self, *means):
        return self.gate.excite(*(mean[..., None, None] for mean in means)).flatten(1)


def means_of(gate, samples=2, seed=1):
    streams = 2 if gate.needs_shortcut else 1
    channels = gate.last_layer.weight.shape[0]
    return [
        m.detach().flatten(1).requires_grad_()
        for m in maps(samples, channels, 1, 1, number=streams, seed=seed)
    ]


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('view', VIEWS)
def test_equals_torch_in_float64(view, mode):
    module, twin = set_up(Alone(gate_of(view, CHANNELS)), mode)
    means = means_of(module.gate)
    found = results(module, module, means)
    far = distances(found, results(twin, twin.plain, doubles(means)))
    assert not beyond(1e-5, far)


@pytest.mark.parametrize(
    'gate',
    [
        InnerImaging(770, filters=((2, 1),), fold=None, maps=3, reduction=100),
        InnerImaging(100, fold=dict(width=4, pad=True), maps=9),
    ],
)
def test_several_chunks_and_tiles(gate, monkeypatch):
    monkeypatch.setattr(image_passes, 'ROWS', 2)
    module, twin = set_up(Alone(gate), 'batch')
    means = means_of(module.gate, samples=1)
    walk = image_passes.Walk.over(picture_of(module.gate, means[0]), 1)
    assert walk.chunks == 2
    assert walk.steps == 2
    found = results(module, module, means)
    far = distances(found, results(twin, twin.plain, doubles(means)))
    assert not beyond(1e-5, far)


INPUTS = {
    'large': lambda u, v: (u * 1e4, v * 1e4),
    'constant': lambda u, v: (torch.full_like(u, 3.0), torch.full_like(v, 3.0)),
    'streams that are nearly equal': lambda u, v: (u, u + 1e-3 * v),
    'far from zero': lambda u, v: (u * 0.01 + 100, v * 0.01 + 100),
    'all negative': lambda u, v: (-u.abs(), -v.abs()),
    'rank one': lambda u, v: (torch.outer(u[:, 0], v[0]), torch.outer(v[:, 0], v[0])),
}


@pytest.mark.parametrize('case', INPUTS)
@pytest.mark.parametrize('view', ['pair_2x1', 'folded'])
def test_ill_conditioned_means_are_no_further_from_float64(view, case):
    module, twin = set_up(Alone(gate_of(view, CHANNELS)), 'batch')
    if view == 'pair_2x1':  # filters that look at the difference of both streams
        for gate in (module.gate, twin.gate):
            with torch.no_grad():
                weight = gate.filters[0].conv.weight
                weight[:, :, 1] = -weight[:, :, 0]
    eager = copy.deepcopy(module)
    means = [x.detach().requires_grad_() for x in INPUTS[case](*(m.detach() for m in means_of(module.gate)))]
    exact = results(twin, twin.plain, doubles(means))
    found = results(module, module, means)
    assert all(value.isfinite().all() for value in found.values())
    again = [x.detach().clone().requires_grad_() for x in means]
    theirs = distances(results(eager, eager.plain, again), exact)
    assert not beyond(1e-5, distances(found, exact), theirs)


@pytest.mark.parametrize('view', ['pair_1x1', 'folded'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_a_tail_of_one_pixel_in_half_precision(dtype, view):
    ending, twin = set_up(Ending(CHANNELS, gate_of(view, CHANNELS), projected=True), 'running')
    eager = copy.deepcopy(ending)
    inputs = maps(1, CHANNELS, 1, 1, dtype=dtype)
    exact = results(twin, twin.plain, doubles(inputs))
    ours = distances(results(ending, ending, inputs), exact)
    again = [x.detach().clone().requires_grad_() for x in inputs]
    assert not beyond(torch.finfo(dtype).eps, ours, distances(results(eager, eager.plain, again), exact))


@pytest.mark.parametrize('mode', ['batch', 'running'])
def test_second_derivatives_are_those_of_the_formula(mode):
    module, twin = set_up(Alone(gate_of('folded', CHANNELS)), mode)
    means = means_of(module.gate)

    def penalty(module, formula, means):
        wanted = [*means, *module.parameters()]
        first = torch.autograd.grad(formula(*means).square().sum(), wanted, create_graph=True)
        return dict(enumerate(torch.autograd.grad(sum(g.square().sum() for g in first), wanted)))

    found, exact = penalty(module, module, means), penalty(twin, twin.plain, doubles(means))
    assert not beyond(1e-3, distances(found, exact))


def test_running_statistics_change_by_new_versions():
    module, _ = set_up(Alone(gate_of('two_banks', CHANNELS)), 'batch')
    before = {name: buffer._version for name, buffer in module.named_buffers()}
    module(*means_of(module.gate))
    assert len(before) == 6
    assert all(buffer._version > before[name] for name, buffer in module.named_buffers())
    assert all(bank.norm.num_batches_tracked == 1 for bank in module.gate.filters)


def test_which_gates_are_called_as_they_are():
    means = torch.ones(2, CHANNELS)
    assert picture_of(gate_of('folded', CHANNELS), means) is not None
    assert picture_of(gate_of('codes', CHANNELS), means) is None
    assert picture_of(gate_of('folded', CHANNELS).double(), means) is None
    assert picture_of(InnerImaging(CHANNELS, norm_cfg=dict(type='GN', num_groups=1), fold=5), means) is None
    four = ((1, 1), (2, 1), (1, 2), (2, 2))
    assert picture_of(InnerImaging(CHANNELS, filters=four, fold=5), means) is None
    assert picture_of(InnerImaging(64, filters=((5, 5),), fold=8), torch.ones(2, 64)) is None
    for part in ('filters.0', 'filters.1.conv', 'filters.2.norm', 'encoders.0', 'decoder'):
        gate = gate_of('folded', CHANNELS)
        gate.get_submodule(part).register_forward_hook(lambda *_: None)
        assert picture_of(gate, means) is None
    one = InnerImaging(1, streams=1, filters=((1, 1),), fold=None)
    assert picture_of(one, torch.ones(1, 1)) is None
    assert picture_of(one.eval(), torch.ones(1, 1)) is not None
