import copy

import pytest
import torch

from helpers.fused import beyond, distances
from helpers.nets import image, randomise
from inimg_mm.models import backbones
from inimg_mm.models.fused import switch

NETS = {
    'ResNet': dict(type='ResNet', depth=18, out_indices=(0, 1)),
    'SE': dict(type='SEResNet', depth=50, deep_stem=True, avg_down=True),
    'CMPESE': dict(type='CMPESEResNet', depth=50, attention=dict(view='double_fc')),
    'InnerImaging': dict(type='InnerImagingResNet', depth=18, base_channels=16),
    'SCNet': dict(type='SCNet', depth=50),
    'PreActResNet': dict(type='PreActResNet', depth=18, attention=dict(type='SE')),
}


def build(kind, **options):
    config = {'base_channels': 8, 'out_indices': (0,), **NETS[kind], **options}
    net = getattr(backbones, config.pop('type'))(**config)
    return randomise(net)


def switched(net, fused, dtype=None):
    net = copy.deepcopy(net)
    for module in net.modules():
        if hasattr(module, 'fused'):
            module.fused = fused
    return net.to(dtype).train()


def results(net, x):
    torch.manual_seed(0)
    x = x.to(next(net.parameters()).dtype).clone().requires_grad_()
    outs = net(x)
    sum(out.square().mean() for out in outs).backward()
    named = {f'out {i}': out for i, out in enumerate(outs)} | {'input': x.grad}
    named |= {name: weight.grad for name, weight in net.named_parameters() if weight.requires_grad}
    return named | dict(net.named_buffers())


def fused_functions(net, x):
    """Names of the functions behind a net's outputs."""
    seen, names = set(), set()
    outs = net(x)
    nodes = [out.grad_fn for out in outs]
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.add(type(node).__name__)
            nodes += [parent for parent, _ in node.next_functions]
    return names


@pytest.mark.parametrize(
    ('kind', 'options'),
    [*((kind, {}) for kind in NETS), ('CMPESE', dict(with_cp=True)), ('SE', dict(norm_eval=True))]
    + [('SE', dict(attention=dict(position=place))) for place in ('3x3', 'pre', 'post', 'identity')],
    ids=str,
)
def test_a_net_is_as_near_to_float64_as_the_plain_one(kind, options):
    net, x = build(kind, **options), image(12, 10)
    exact = results(switched(net, False, torch.float64), x)
    eager = distances(results(switched(net, False), x), exact)
    far = distances(results(switched(net, True), x), exact)
    assert not beyond(5e-5, far, {name: 3 * value for name, value in eager.items()})


@pytest.mark.parametrize('kind', NETS)
def test_the_fused_forms_are_taken_and_nothing_is_named_otherwise(kind):
    plain, net = build(kind, fused=False), build(kind, fused=True)
    assert list(plain.state_dict()) == list(net.state_dict())
    names = fused_functions(net, image(12, 10))
    forms = {'StemBackward', 'TailBackward', 'NormActBackward'}
    if kind == 'SCNet':  # its norms come in pairs
        forms = {'StemBackward', 'TailBackward', 'NormActOfBothBackward', 'CalibrateBackward'}
    assert forms - ({'TailBackward'} if kind == 'PreActResNet' else set()) <= names
    assert not forms & fused_functions(plain, image(12, 10))


def test_a_training_step_repeats_bit_for_bit():
    net, x = build('ResNet'), image(12, 10)
    first, second = (results(switched(net, True), x) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_parameter_that_is_reached_has_a_gradient():
    net = switched(build('SE', frozen_stages=0), True)
    sum(out.mean() for out in net(image(12, 10))).backward()
    assert all((weight.grad is not None) == weight.requires_grad for weight in net.parameters())


def test_the_first_use_may_be_in_a_block_that_is_computed_again():
    block = switched(build('SE', with_cp=True), True).layer1[1]
    x = torch.randn(2, 32, 5, 4, requires_grad=True)
    switch._reason.cache_clear()
    out = block(x)
    assert type(out.grad_fn).__name__ == 'TailBackward'
    (found,) = torch.autograd.grad(out.sum(), x)
    block.with_cp = False
    assert torch.equal(found, torch.autograd.grad(block(x).sum(), x)[0])


def test_a_hook_on_a_block_s_norm_is_called():
    net, seen = switched(build('SE'), True), []
    net.layer1[0].bn3.register_forward_hook(lambda module, args, out: seen.append(out))
    net(image(12, 10))
    assert len(seen) == 1


def test_autocast_gives_what_it_gives_without():
    net, x = build('SE'), image(12, 10)
    with torch.autocast('cpu', torch.bfloat16):
        fused, plain = (switched(net, on)(x) for on in (True, False))
    assert [out.dtype for out in fused] == [out.dtype for out in plain]
    for found, expected in zip(fused, plain, strict=True):
        assert (found - expected).abs().max() < 0.1 * expected.abs().max()
