"""``recompute=True``: the same numbers, bit by bit, and fewer maps that live until the backward pass."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from helpers.fused import Ending, gate_of, maps, set_up
from helpers.fused import results as results_of
from helpers.nets import image, randomise
from inimg_mm.errors import UsageError
from inimg_mm.models import backbones
from inimg_mm.models.fused import made_again, norm_act, tail

NETS = {
    'basic': dict(type='ResNet', depth=18),
    'SE': dict(type='SEResNet', depth=50),
    'SCNet': dict(type='SCNet', depth=50),
    'pre-activation': dict(type='PreActResNet', depth=18),
}


def build(kind, **options):
    config = dict(base_channels=4, out_indices=(0,), fused=True) | NETS[kind] | options
    net = randomise(getattr(backbones, config.pop('type'))(**config)).train()
    net.layer1 = net.layer1[:2]
    return net


def results(net, x):
    torch.manual_seed(0)
    x = x.clone().requires_grad_()
    outs = net(x)
    sum(out.square().mean() for out in outs).backward()
    named = {f'out {i}': out for i, out in enumerate(outs)} | {'input': x.grad}
    return named | {name: w.grad for name, w in net.named_parameters()} | dict(net.named_buffers())


@pytest.mark.parametrize('kind', NETS)
def test_a_net_s_numbers_are_the_same(kind):
    net = build(kind, recompute=True)
    kept = copy.deepcopy(net)
    for module in kept.modules():
        if hasattr(module, 'recompute'):
            module.recompute = False
    found, expected = (results(n, image(8, 6)) for n in (net, kept))
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def inputs_kept(net):
    """Convolutions of the blocks whose inputs live after the forward pass."""
    seen = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and 'layer' in name and 'se_layer' not in name:

            def look(module, inputs, name=name):
                seen.setdefault(name, StorageWeakRef(inputs[0].untyped_storage()))

            module.register_forward_pre_hook(look)
    outs = net(image(8, 6))
    with torch.no_grad():
        net(image(8, 6))  # the interpreter keeps the maps of each kernel's last launch
    assert all(out.requires_grad for out in outs)
    return {name for name, storage in seen.items() if not storage.expired()}


def test_what_a_net_keeps():
    # what a projection reads, too, and what a sum with an identity has made
    assert inputs_kept(build('SE', recompute=True)) == {'layer1.0.conv1', 'layer1.0.downsample.0'}
    assert inputs_kept(build('basic', recompute=True)) == {'layer1.1.conv1'}
    kept = inputs_kept(build('SCNet', recompute=True))
    assert {'layer1.0.conv3', 'layer1.1.conv3'} <= kept
    assert not any(name.endswith(('k1.0', 'k4.0')) for name in kept)


@pytest.mark.parametrize(
    ('kind', 'mode', 'dtype'),
    [
        (None, 'batch', torch.float32),
        (None, 'frozen', torch.float16),
        ('SE', 'running', torch.float32),
        ('DoubleFC', 'batch', torch.float16),
    ],
)
def test_a_tail_with_a_projection(kind, mode, dtype):
    found = []
    for recompute in (False, True):
        ending, _ = set_up(Ending(5, gate_of(kind, 5), projected=True, drop=0.3), mode)
        parts = ending.norm, ending.gate, ending.drop
        formula = partial(recomputing_tail, parts=parts, norm2=ending.norm2, recompute=recompute)
        found.append(results_of(ending, formula, maps(4, 5, 3, 4, dtype=dtype)))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def recomputing_tail(y, x, parts, norm2, recompute):
    return tail(y, x, *parts, norm2, True, recompute)


@pytest.mark.parametrize('kind', [None, 'SE'])
def test_second_derivatives_of_a_tail_that_keeps_no_output(kind):
    def penalty(recompute):
        ending, _ = set_up(Ending(4, gate_of(kind, 4), projected=True), 'batch')
        inputs = maps(2, 4, 3, 3)
        parts = ending.norm, ending.gate, ending.drop
        out = recomputing_tail(*inputs, parts, ending.norm2, recompute)
        first = torch.autograd.grad(out.square().sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), inputs)

    assert all(torch.equal(a, b) for a, b in zip(penalty(False), penalty(True), strict=True))


def convolved(recompute):
    norm, _ = set_up(nn.BatchNorm2d(4), 'batch')
    conv, _ = set_up(nn.Conv2d(4, 3, 3), 'batch')
    (y,) = maps(2, 4, 5, 5, number=1)
    x = norm_act(y, norm, nn.ReLU(), True)
    with made_again(x, recompute):
        return conv(x), [y, *norm.parameters(), *conv.parameters()]


def test_a_graph_can_be_run_twice_and_differentiated_again():
    out, wanted = convolved(True)
    first = torch.autograd.grad(out.sum(), wanted, retain_graph=True)
    second = torch.autograd.grad(out.sum(), wanted, create_graph=True)
    for found, exact in zip(second, first, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)
    expected, others = convolved(False)
    penalties = []
    for result, inputs in ((out, wanted), (expected, others)):
        gradients = torch.autograd.grad(result.square().sum(), inputs, create_graph=True)
        penalties.append(torch.autograd.grad(sum(g.square().sum() for g in gradients), inputs))
    for found, exact in zip(*penalties, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)


def test_another_tensor_is_kept():
    x = torch.ones(1, 2, 3, 3, requires_grad=True)
    with made_again(x * 2, True):
        out = x.square().sum()
    out.backward()
    assert torch.equal(x.grad, 2 * x)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(fused=False), "recompute=True makes outputs of fused operations again: it takes fused='auto'"),
        (dict(with_cp=True), 'recompute=True and with_cp=True'),
        (dict(recompute=1), 'recompute must be True or False, got 1'),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        build('basic', **{'recompute': True, **options})
