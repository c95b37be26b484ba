import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.fused import LAYOUTS, MODES, beyond, distances, doubles, maps, results, set_up
from inimg_mm.models.fused.calibrate import calibrate, calibrate_fuses, cells


class Calibration(nn.Module):
    def __init__(self, channels, identity=True):
        super().__init__()
        self.norm3, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.identity = identity

    def forward(self, z3, y, z2):
        assert calibrate_fuses(z3, y, z2, self.norm3, self.norm2, True)
        return calibrate(z3, y, z2, self.norm3, self.norm2, self.identity)

    def plain(self, z3, y, z2):
        logits = F.interpolate(self.norm2(z2), y.shape[2:])
        return self.norm3(z3) * torch.sigmoid(y + logits if self.identity else logits)


def three(size, small, channels=6, **options):
    big = maps(3, channels, *size, number=2, **options)
    return [*big, *maps(3, channels, *small, number=1, seed=3, **options)]


def far_from_float64(module, twin, inputs):
    names = {} if module.identity else {'input 1': inputs[1].detach()}
    exact = results(twin, twin.plain, doubles(inputs))
    found = results(module, module, inputs)
    for name, nothing in names.items():  # y has no gradient where it is not added
        found[name], exact[name] = nothing, nothing
    return distances(found, exact)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize(
    ('size', 'small'),
    [((8, 12), (2, 3)), ((7, 10), (2, 3)), ((7, 5), (2, 1)), ((27, 24), (6, 6)), ((1, 3), (1, 1))],
)
def test_equals_torch_in_float64(size, small, mode, layout):
    module, twin = set_up(Calibration(6), mode)
    far = far_from_float64(module, twin, three(size, small, layout=layout))
    assert not beyond(1e-5, far)


@pytest.mark.parametrize('channels', [3, 130])
def test_without_the_identity_and_for_any_number_of_channels(channels):
    module, twin = set_up(Calibration(channels, identity=False), 'batch')
    assert not beyond(1e-5, far_from_float64(module, twin, three((5, 6), (2, 2), channels)))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_as_exact_as_torch(dtype):
    inputs = three((8, 8), (2, 2), dtype=dtype)
    module, twin = set_up(Calibration(6), 'batch')
    eager, _ = set_up(Calibration(6), 'batch')
    exact = results(twin, twin.plain, doubles(inputs))
    ours = distances(results(module, module, inputs), exact)
    again = [x.detach().clone().requires_grad_() for x in inputs]
    assert not beyond(torch.finfo(dtype).eps, ours, distances(results(eager, eager.plain, again), exact))


@pytest.mark.parametrize('pair', [(3, 7), (7, 7), (2, 15), (5, 36), (11, 23), (1, 9)])
def test_cells_are_torch_s(pair):
    number, positions = pair
    found = cells(number, positions, torch.device('cpu'))
    ramp = torch.arange(number, dtype=torch.float64).view(1, 1, 1, -1)
    expected = F.interpolate(ramp, (1, positions)).flatten().int()
    assert torch.equal(found.cell, expected)
    assert torch.equal(found.first.diff(), torch.bincount(expected, minlength=number))


def test_second_derivatives_are_those_of_the_formula():
    module, twin = set_up(Calibration(4), 'batch')
    inputs = three((4, 5), (2, 2), 4)

    def penalty(module, formula, inputs):
        wanted = [*inputs, *module.parameters()]
        first = torch.autograd.grad(formula(*inputs).square().sum(), wanted, create_graph=True)
        return dict(enumerate(torch.autograd.grad(sum(g.square().sum() for g in first), wanted)))

    far = distances(penalty(module, module, inputs), penalty(twin, twin.plain, doubles(inputs)))
    assert not beyond(1e-4, far)
