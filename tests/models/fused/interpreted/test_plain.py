"""Where the plain formula stays, silently: what looks at a part, or what the kernels do not compute."""

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.fused import maps
from inimg_mm.models import fused
from inimg_mm.models.fused import norms


def is_fused(norm, y, act=None):
    return name_of(fused.norm_act(y, norm, act, True)) == 'NormActBackward'


def name_of(out):
    return type(out.grad_fn).__name__


def hooked(register):
    norm = nn.BatchNorm2d(4)
    getattr(norm, register)(lambda *_: None)
    return norm


class OwnNorm(nn.BatchNorm2d):
    """A subclass may compute anything."""


def rebound():
    norm = nn.BatchNorm2d(4)
    norm.forward = lambda y: y * 1
    return norm


@pytest.mark.parametrize(
    'norm',
    [
        OwnNorm(4),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4, affine=True),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, momentum=None),
        nn.BatchNorm2d(4).double(),
        hooked('register_forward_hook'),
        hooked('register_forward_pre_hook'),
        hooked('register_full_backward_hook'),
        rebound(),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_norms_that_are_called_as_they_are(norm):
    (y,) = maps(2, 4, 3, 3, number=1, dtype=next(norm.parameters(), torch.ones(())).dtype)
    assert is_fused(nn.BatchNorm2d(4), y.float())
    torch.manual_seed(0)
    twin = copy.deepcopy(norm) if not norm.__dict__.get('forward') else norm
    out = fused.norm_act(y, norm, None, True)
    assert name_of(out) != 'NormActBackward'
    torch.testing.assert_close(out, twin(y))


def test_a_parametrized_weight_is_computed():
    class Twice(nn.Module):
        def forward(self, weight):
            return 2 * weight

    norm = nn.BatchNorm2d(4)
    nn.utils.parametrize.register_parametrization(norm, 'weight', Twice())
    (y,) = maps(2, 4, 3, 3, number=1)
    assert not is_fused(norm, y)
    torch.testing.assert_close(fused.norm_act(y, norm, None, True).std(), torch.tensor(2.0), rtol=0.1, atol=0)


def test_a_hook_on_the_relu_is_called():
    seen, act = [], nn.ReLU()
    act.register_forward_hook(lambda module, args, out: seen.append(out))
    assert not is_fused(nn.BatchNorm2d(4), *maps(2, 4, 3, 3, number=1), act)
    assert len(seen) == 1


def test_a_global_hook_sees_every_norm():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, out: seen.append(module))
    try:
        norm = nn.BatchNorm2d(4)
        assert not is_fused(norm, *maps(2, 4, 3, 3, number=1))
        assert seen == [norm]
    finally:
        handle.remove()


def test_one_value_a_channel_is_torch_s_error():
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        fused.norm_act(torch.ones(1, 4, 1, 1), nn.BatchNorm2d(4), None, True)
    empty = fused.norm_act(torch.ones(0, 4, 3, 3), nn.BatchNorm2d(4).eval(), None, True)
    assert empty.shape == (0, 4, 3, 3)


def test_a_wrong_number_of_channels_is_torch_s_error():
    with pytest.raises(RuntimeError, match='running_mean should contain 3 elements'):
        fused.norm_act(torch.ones(2, 3, 3, 3), nn.BatchNorm2d(4), None, True)


def test_whoever_rewrites_operations_sees_the_formula():
    norm, y = nn.BatchNorm2d(4).eval().requires_grad_(False), maps(2, 4, 3, 3, number=1)[0].detach()
    plain = norm(y).relu()

    def block(y):
        return fused.norm_act(y, norm, nn.ReLU(), True)

    graph = torch.jit.trace(block, y).inlined_graph
    assert 'batch_norm' in str(graph)
    names = [node.name for node in torch.fx.experimental.proxy_tensor.make_fx(block)(y).graph.nodes]
    assert any('batch_norm' in name for name in names)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert block(mode.from_tensor(y)).shape == y.shape
    torch.testing.assert_close(torch.vmap(block)(y[:, None])[:, 0], plain)
    torch.testing.assert_close(
        torch.func.functional_call(norm, dict(norm.named_parameters()), y).relu(), plain
    )
    tangent = torch.func.jvp(block, (y,), (torch.ones_like(y),))[1]
    assert tangent.shape == y.shape
    program = torch.export.export(Block(norm), (y,))
    assert any('batch_norm' in str(node.target) for node in program.graph.nodes)


class Block(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, y):
        return fused.norm_act(y, self.norm, None, True)


def test_compiled_code_is_the_compiler_s():
    seen = []

    def backend(graph, inputs):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    norm, (y,) = nn.BatchNorm2d(4), maps(2, 4, 3, 3, number=1)
    torch.compile(Block(norm), backend=backend)(y)
    assert any('batch_norm' in name or 'norm' in name for name in seen)
    assert not any('NormAct' in name for name in seen)


def test_off_by_argument_and_by_environment(monkeypatch):
    norm, (y,) = nn.BatchNorm2d(4), maps(2, 4, 3, 3, number=1)
    assert is_fused(norm, y)
    assert name_of(fused.norm_act(y, norm, None, False)) != 'NormActBackward'
    monkeypatch.setenv(fused.ENVIRONMENT, '0')
    assert not is_fused(norm, y)


def test_sync_bn_of_several_processes_takes_true(monkeypatch):
    monkeypatch.setattr(norms, '_group', lambda norm: object())
    norm = nn.SyncBatchNorm(4)
    assert 'takes fused=True' in norms.obstacle(norm, 'auto')
    assert norms.obstacle(norm, True) is None
    assert norms.obstacle(norm.eval(), 'auto') is None


def test_a_dispatch_mode_counts_the_formula_s_operations():
    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    seen = []
    with Names():
        assert not is_fused(nn.BatchNorm2d(4), *maps(2, 4, 3, 3, number=1), nn.ReLU())
    assert any('batch_norm' in name for name in seen)


def test_a_tensor_of_somebody_s_own_sees_the_formula():
    class Own(torch.Tensor):
        pass

    (y,) = maps(2, 4, 3, 3, number=1)
    out = fused.norm_act(y.as_subclass(Own), nn.BatchNorm2d(4), nn.ReLU(), True)
    assert type(out) is Own


def test_second_derivatives_of_a_norm_are_those_of_the_formula():
    norm, (y,) = nn.BatchNorm2d(4), maps(2, 4, 3, 3, number=1)

    def penalty(out):
        (first,) = torch.autograd.grad(out.square().sum(), y, create_graph=True)
        return torch.autograd.grad(first.square().sum(), y)[0]

    found = penalty(fused.norm_act(y, norm, nn.ReLU(), True))
    torch.testing.assert_close(found, penalty(norm(y).relu()), rtol=1e-3, atol=1e-4)
