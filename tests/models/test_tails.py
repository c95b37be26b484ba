"""Blocks in fewer walks over their maps, against the template's formula and the plain forms of SCNet."""

import contextlib
import copy

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from inimg_mm import zoo
from inimg_mm.models.attention import SE, DoubleFC, InnerImaging, SEPlugin, cmpe_se, recalibrated_add
from inimg_mm.models.backbones import blocks, sc_operations
from inimg_mm.models.backbones.tails import gated_in_one, is_gated_in_one
from inimg_mm.registry import MODELS

TOLERANCE = 1e-10
RELU = nn.ReLU(inplace=True)
GATES = {
    'SE': SE,
    'double FC': DoubleFC,
    'pair 1x1': cmpe_se,
    'D+A+F': InnerImaging,
    'one stream': lambda channels: InnerImaging(channels, streams=1),
}
LAYOUTS = {
    'NCHW': lambda x: x,
    'channels_last': lambda x: x.contiguous(memory_format=torch.channels_last),
    'every second column': lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
}


@contextlib.contextmanager
def plain_forms():
    """A hook on every module, that sees all there is to see: each part is computed by its formula."""
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        yield
    finally:
        handle.remove()


def assert_close(actual, expected, tolerance=TOLERANCE):
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == e.dtype
        assert ((a - e).abs().max() / e.abs().max().clamp(min=1e-2)).item() < tolerance


def streams(layout='NCHW', dtype=torch.float64, shape=(4, 32, 6, 5)):
    return [LAYOUTS[layout](torch.randn(shape, dtype=dtype) + 1).requires_grad_() for _ in '12']


def formula(shortcut, residual, gate, drop_path, relu=None):
    out = recalibrated_add(shortcut, residual, gate, drop_path)
    return out if relu is None else relu(out)


def trace_of(form, gate, drop_path, leaves, relu=RELU):
    """What a form gives: map, gradients, statistics, and the random state behind it."""
    torch.manual_seed(1)
    gate = copy.deepcopy(gate)
    out = form(*leaves, gate, drop_path, relu)
    grads = torch.autograd.grad(out.sin().sum(), [*leaves, *gate.parameters()])
    return [out, *grads, *gate.buffers(), torch.rand(3)]


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('relu', [RELU, None], ids=str)
@pytest.mark.parametrize('drop_path', [nn.Identity(), DropPath(0.4), DropPath(0.4).eval()], ids=str)
@pytest.mark.parametrize('name', GATES)
def test_the_same_as_the_formula(name, drop_path, relu, layout):
    gate, leaves = GATES[name](32).double(), streams(layout)
    assert is_gated_in_one(*leaves, gate, drop_path, relu)
    expected = trace_of(formula, gate, drop_path, leaves, relu)
    assert_close(trace_of(gated_in_one, gate, drop_path, leaves, relu), expected)


@pytest.mark.parametrize('name', GATES)
def test_large_maps_are_summed_in_parts(name):
    for layout in ('NCHW', 'channels_last'):
        leaves, gate = streams(layout, shape=(3, 64, 61, 67)), GATES[name](64).double()
        expected = trace_of(formula, gate, nn.Identity(), leaves)
        assert_close(trace_of(gated_in_one, gate, nn.Identity(), leaves), expected)


@pytest.mark.parametrize('frozen', ['shortcut', 'residual', 'gate', 'both streams'])
@pytest.mark.parametrize('name', ['SE', 'pair 1x1'])
def test_what_needs_no_gradient(name, frozen):
    gate, (shortcut, residual) = GATES[name](32).double(), streams()
    shortcut.requires_grad_(frozen not in ('shortcut', 'both streams'))
    residual.requires_grad_(frozen not in ('residual', 'both streams'))
    gate.requires_grad_(frozen != 'gate')
    leaves = [leaf for leaf in (shortcut, residual, *gate.parameters()) if leaf.requires_grad]
    actual, expected = (
        torch.autograd.grad(form(shortcut, residual, gate, nn.Identity(), RELU).sin().sum(), leaves)
        for form in (gated_in_one, formula)
    )
    assert_close(actual, expected)


@pytest.mark.parametrize('name', GATES)
def test_one_gradient_alone_and_the_graph_twice(name):
    gate, leaves = GATES[name](32).double(), streams('channels_last')
    loss = gated_in_one(*leaves, gate, nn.Identity(), RELU).sin().sum()
    expected = torch.autograd.grad(
        formula(*leaves, gate, nn.Identity(), RELU).sin().sum(), [*leaves, *gate.parameters()]
    )
    for leaf, gradient in zip([*leaves, *gate.parameters()], expected, strict=True):
        assert_close(torch.autograd.grad(loss, leaf, retain_graph=True), [gradient])
    assert_close(torch.autograd.grad(loss, [*leaves, *gate.parameters()]), expected)


@pytest.mark.parametrize('relu', [RELU, None], ids=str)
@pytest.mark.parametrize('name', GATES)
def test_second_derivatives(name, relu):
    gate, leaves = GATES[name](32).double(), streams()
    leaves += list(gate.parameters())

    def second(form):
        out = form(*leaves[:2], gate, nn.Identity(), relu)
        first = torch.autograd.grad(out.sin().sum(), leaves, create_graph=True)
        # the map once more beside its gradients: both kinds of gradients meet in one backward pass
        return torch.autograd.grad(sum(g.square().sum() for g in first) + out.cos().sum(), leaves)

    assert_close(second(gated_in_one), second(formula))


@pytest.mark.parametrize('name', ['SE', 'D+A+F'])
def test_mixed_precision(name):
    gate = GATES[name](32)
    leaves = streams(dtype=torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        assert is_gated_in_one(*leaves, gate, nn.Identity(), RELU)
        actual = trace_of(gated_in_one, gate, nn.Identity(), leaves)
        expected = trace_of(formula, gate, nn.Identity(), leaves)
    assert torch.equal(actual[0], expected[0])
    assert_close(actual, expected, tolerance=2e-2)  # a few roundings to 8 bits, in another order
    mixed = leaves[0].detach().float(), leaves[1]
    assert not is_gated_in_one(*mixed, gate, nn.Identity(), RELU)
    assert formula(*mixed, gate, nn.Identity()).dtype == torch.float32


PREACT = 'inimg_mm.PreActResNet'
NETS = {
    'plain': ('resnet50', {}),
    'basic': ('seresnet50', dict(depth=18)),
    'plain, GN': ('resnet50', dict(norm_cfg=dict(type='GN', num_groups=4))),
    'SE': ('seresnet50', {}),
    'SE, drop path': ('seresnet50', dict(drop_path_rate=0.5)),
    'SE, recomputed': ('seresnet50', dict(with_cp=True)),
    'plain, drop path': ('resnet50', dict(drop_path_rate=0.5)),
    'norms in eval': ('cmpese_resnet50_pair_1x1', dict(norm_eval=True, frozen_stages=1)),
    'pair 1x1': ('cmpese_resnet50_pair_1x1', {}),
    'D+A+F': ('resnet50', dict(attention=dict(type='InnerImaging'))),
    'PreActResNet': (PREACT, dict(attention=dict(type='CMPESE'))),
    'PreActResNet, drop path': (PREACT, dict(attention=dict(type='SE'), drop_path_rate=0.5)),
    'PreActResNet, plain': (PREACT, dict(with_cp=True)),
    'SCNet': ('scnet50', {}),
    'SCNet v1d': ('scnet50', dict(deep_stem=True, avg_down=True, avd=True)),
    'SCNet without identity': ('scnet50', dict(identity=False, pooling='max')),
    'SCNet, recomputed': ('scnet50', dict(with_cp=True)),
    'SCNeXt': ('scnet50', dict(groups=2)),
    'SE-SCNet': ('scnet50', dict(attention=dict(type='SE'))),
}


ROUNDED = ['SE, drop path', 'PreActResNet, drop path', 'D+A+F']
"""What is rounded elsewhere: a sample's factor, a bank of filters; the maps of all others are bit-equal."""


def net_of(case):
    name, options = NETS[case]
    config = dict(type=PREACT, depth=50) if name == PREACT else zoo.get(name).config
    small = dict(
        num_stages=2, strides=(1, 2), dilations=(1, 1), stage_with_dcn=(False,) * 2, out_indices=(0, 1)
    )
    net = MODELS.build(
        {**copy.deepcopy(config), **small, 'base_channels': 16, 'stem_channels': 16, **options}
    )
    for parameter in net.parameters():
        scale = parameter[0].numel() ** -0.5
        nn.init.uniform_(parameter, 0.5, 1) if parameter.dim() == 1 else nn.init.normal_(parameter, std=scale)
    return net.double().train()


def step_of(net, x):
    torch.manual_seed(2)
    net = copy.deepcopy(net)
    maps = net(x)
    sum(m.sin().mean() for m in maps).backward()
    grads = [parameter.grad for parameter in net.parameters() if parameter.requires_grad]
    assert all(grad is not None for grad in grads)
    return [*maps, *grads, *net.buffers()]


@pytest.mark.parametrize('layout', ['NCHW', 'channels_last'])
@pytest.mark.parametrize('case', NETS)
def test_nets(case, layout):
    net, x = net_of(case), LAYOUTS[layout](torch.randn(3, 3, 49, 64, dtype=torch.float64))
    if layout == 'channels_last':
        net = net.to(memory_format=torch.channels_last)
    actual = step_of(net, x)
    with plain_forms():
        expected = step_of(net, x)
    if case not in ROUNDED:
        assert all(torch.equal(a, e) for a, e in zip(actual[:2], expected[:2], strict=True))
    assert_close(actual, expected, tolerance=1e-9)


@pytest.mark.parametrize('case', ['SE', 'SCNet v1d', 'SCNet without identity'])
def test_second_derivatives_of_nets(case):
    block = net_of(case).layer2
    x = LAYOUTS['channels_last'](torch.randn(2, 64, 9, 8, dtype=torch.float64)).requires_grad_()
    leaves = [x, *block.parameters()]

    def second():
        out = block(x)
        first = torch.autograd.grad(out.sin().mean(), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first) + out.cos().mean(), leaves)

    actual = second()
    with plain_forms():
        expected = second()
    assert_close(actual, expected, tolerance=1e-8)


@pytest.mark.parametrize('case', ['SE', 'SCNet'])
def test_autocast_as_the_plain_forms(case):
    net, x = net_of(case).float(), torch.randn(2, 3, 64, 64)

    def maps():
        with torch.autocast('cpu', torch.bfloat16):
            return copy.deepcopy(net)(x)

    actual = maps()
    with plain_forms():
        expected = maps()
    assert all(torch.equal(a, e) and a.dtype == e.dtype for a, e in zip(actual, expected, strict=True))


def kept_bytes(net, x):
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = net(x)
        total = sum(kept.values())
    del out
    return total


@pytest.mark.parametrize(('case', 'share'), [('plain', 1.0), ('SE', 1.0), ('pair 1x1', 1.0), ('SCNet', 0.99)])
def test_no_more_is_kept_for_the_backward_pass(case, share):
    net, x = net_of(case), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    in_one = kept_bytes(net, x)
    with plain_forms():
        assert in_one <= share * kept_bytes(net, x)


@pytest.fixture
def forms(monkeypatch):
    """The forms that blocks have taken, in order."""
    taken = []
    real = blocks.gated_in_one
    monkeypatch.setattr(blocks, 'gated_in_one', lambda *args: taken.append('in one') or real(*args))
    for name in ('_TwoProjections', '_RectifiedTogether', '_Calibrated'):
        function = getattr(sc_operations, name)

        def apply(*args, name=name, function=function):
            taken.append(name)
            return function.apply(*args)

        monkeypatch.setattr(sc_operations, name, type(name, (), dict(apply=staticmethod(apply))))
    return taken


def block_of(case):
    return net_of(case).layer1[1], torch.randn(2, 64, 8, 8, dtype=torch.float64, requires_grad=True)


def test_a_block_takes_the_fast_forms(forms):
    block, x = block_of('SE')
    block(x)
    assert forms == ['in one']
    block, x = block_of('SE-SCNet')
    block(LAYOUTS['channels_last'](x))
    assert forms[1:] == ['_TwoProjections', '_Calibrated', '_RectifiedTogether', 'in one']


def hooked(name):
    def change(block):
        seen = []
        block.get_submodule(name).register_forward_hook(lambda module, args, out: seen.append(out))
        return lambda: all(out.isfinite().all() for out in seen) and seen

    return change


def another_activation(block):
    block.relu = nn.LeakyReLU(0.1)


def gate_of_its_own(block):
    class Doubled(SE):
        def forward(self, residual, shortcut=None):
            return 2 * super().forward(residual)

    block.se_layer = Doubled(64).double()


@pytest.mark.parametrize(
    'change',
    [hooked('se_layer'), hooked('relu'), hooked('drop_path'), another_activation, gate_of_its_own],
    ids=['gate', 'relu', 'drop path', 'another activation', 'a gate of its own'],
)
def test_who_looks_at_a_part_finds_it(forms, change):
    block, x = block_of('SE')
    as_wanted = change(block)
    actual = block(x)
    assert forms == []
    shortcut, residual = block.paths(x)
    added = shortcut + block.se_layer(residual) * residual
    torch.testing.assert_close(actual, block.relu(added), rtol=0, atol=1e-12)
    assert as_wanted is None or as_wanted()


def test_a_subclass_that_changes_the_template_is_asked_for_it(forms):
    class Doubled(blocks.Bottleneck):
        def branch(self, x):
            return 2 * super().branch(x)

    class Thirds(blocks.Bottleneck):
        def join(self, shortcut, residual):
            return super().join(shortcut / 3, residual)

    assert blocks.Bottleneck.ends_in_norm
    assert not Doubled.ends_in_norm
    assert not Thirds.ends_in_norm
    block, x = block_of('SE')
    shortcut, residual = block.paths(x)
    block.__class__ = Thirds
    torch.testing.assert_close(block(3 * x), block.relu(x + block.se_layer(r := block.branch(3 * x)) * r))
    forms.clear()
    block.__class__ = Doubled
    expected = block.relu(shortcut + block.se_layer(2 * residual) * 2 * residual)
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)
    assert forms == ['in one']


def test_a_layer_inside_a_gate_may_be_hooked(forms):
    block, x = block_of('SE')
    as_wanted = hooked('se_layer.conv1.activate')(block)
    block(x)
    assert forms == ['in one']
    assert as_wanted()


@pytest.mark.parametrize('part', ['conv1_a', 'conv1_b', 'relu', 'avd_layer'])
def test_who_looks_at_a_part_of_scnet_finds_it(forms, part):
    block, x = block_of('SCNet')
    as_wanted = hooked(part)(block)
    block(LAYOUTS['channels_last'](x))
    replaced = '_TwoProjections' if part.startswith('conv') else '_RectifiedTogether'
    assert forms == [
        name for name in ('_TwoProjections', '_Calibrated', '_RectifiedTogether') if name != replaced
    ]
    assert as_wanted()


@pytest.mark.parametrize('case', ['SE', 'pair 1x1'])
def test_a_gate_keeps_no_map(case):
    """What it keeps does not grow with the image."""
    small, large = (torch.randn(2, 3, side, side, dtype=torch.float64) for side in (64, 96))
    nets = net_of(case), net_of('plain')
    extra = [kept_bytes(nets[0], x) - kept_bytes(nets[1], x) for x in (small, large)]
    assert extra[0] == extra[1]


@pytest.mark.parametrize('training', [True, False])
def test_running_statistics_that_are_switched_off(training):
    net, x = net_of('SE').train(training), torch.randn(3, 3, 49, 64, dtype=torch.float64)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.track_running_stats = False
    actual = step_of(net, x)
    with plain_forms():
        expected = step_of(net, x)
    assert_close(actual, expected, tolerance=1e-9)


def test_running_statistics_without_a_counter_are_kept():
    net, x = net_of('SE'), torch.randn(3, 3, 49, 64, dtype=torch.float64)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.num_batches_tracked = None
    actual = step_of(net, x)
    with plain_forms():
        assert_close(actual, step_of(net, x), tolerance=1e-9)
    assert all(
        not torch.equal(a, b) for a, b in zip(actual[-len(list(net.buffers())) :], net.buffers(), strict=True)
    )


@pytest.mark.parametrize('case', ['plain', 'plain, GN', 'SE'])
def test_who_keeps_the_last_norms_map_keeps_it_as_it_was(case):
    block, kept = net_of(case).layer2[1], []
    block.last_affine.register_forward_hook(lambda module, args, out: kept.append((out, out.clone())))
    block(torch.randn(2, 128, 5, 5, dtype=torch.float64, requires_grad=True)).sum().backward()
    ((now, then),) = kept
    assert torch.equal(now, then)


def counted(block, x):
    with FlopCounterMode(display=False) as counter:
        block(x)
    assert counter.get_total_flops() > 0


def traced(block, x):
    traced = torch.jit.trace(block, x, check_trace=False)
    assert 'PythonOp' not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(x), block(x))


def exported(block, x):
    assert 'addcmul' in str(torch.export.export(block, (x,)).graph)


def mapped(block, x):
    torch.testing.assert_close(torch.func.vmap(block)(x[None])[0], block(x))


def dual(block, x):
    with forward_ad.dual_level():
        assert forward_ad.unpack_dual(block(forward_ad.make_dual(x, torch.ones_like(x)))).tangent is not None


def compiled(block, x):
    torch.testing.assert_close(torch.compile(block, backend='eager', fullgraph=True)(x), block(x))


@pytest.mark.parametrize('use', [counted, traced, exported, mapped, dual, compiled])
def test_who_rewrites_the_operations_finds_the_plain_ones(use):
    block, x = block_of('SE-SCNet')
    use(block.eval(), LAYOUTS['channels_last'](x.detach()))


def test_a_plugin_rescales_as_ever():
    plugin, x = SEPlugin(32), torch.randn(2, 32, 4, 4)
    torch.testing.assert_close(plugin(x), x * torch.sigmoid(plugin.conv2(plugin.conv1(x.mean((2, 3), True)))))
    assert not is_gated_in_one(x, x, plugin, nn.Identity())
