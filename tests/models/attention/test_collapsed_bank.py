"""A bank as one filter against its maps one by one: convolution, batch norm, mean."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

from helpers.processes import bank_of_half_a_batch
from inimg_mm.models.attention import GroupingFilter, InnerImaging, cmpe_se, inner_imaging
from inimg_mm.models.attention.collapsed_bank import condense

TOLERANCE = 1e-10
KERNELS = {
    '1x1': [(1, 1)],
    '2x1': [(2, 1)],
    '3x3': [(3, 3)],
    'even and odd': [(2, 3), (4, 2)],
    'D+A+F': [(1, 1), (2, 1), (3, 3)],
}
NORMS = {
    'training': {},
    'eval': {},
    'eps and momentum': dict(eps=0.3, momentum=0.7),
    'cumulative average': dict(momentum=None),
    'nothing tracked': dict(track_running_stats=False),
    'nothing tracked, eval': dict(track_running_stats=False),
    'not affine': dict(affine=False),
    'not affine, eval': dict(affine=False),
    'momentum 0': dict(momentum=0.0),
}


def banks_of(kernels, maps=5, dtype=torch.float64, norm_type='BN', **norm):
    """Banks with random weights and statistics; several keep the image's size."""
    banks = nn.ModuleList(
        GroupingFilter(kernel, maps, len(kernels) > 1, dict(type=norm_type, **norm)) for kernel in kernels
    )
    for name, tensor in [*banks.named_parameters(), *banks.named_buffers()]:
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.3, 1.5) if 'var' in name else nn.init.normal_(tensor)
    return banks.to(dtype)


def literal(banks, image):
    """The definition: the mean over banks and maps of norm(conv(image))."""
    maps = [bank.norm(bank.conv(F.pad(image, bank.padding))).mean(1, keepdim=True) for bank in banks]
    return torch.stack(maps).mean(0)


def trace_of(form, banks, image, dtype=torch.float64, steps=2):
    """Outputs, gradients and buffers of two steps of a copy of the banks, in float64."""
    banks, traced = copy.deepcopy(banks).to(dtype), []
    image = image.detach().to(dtype, copy=True).requires_grad_()
    for step in range(steps):
        out = form(banks, image * (step + 1))
        out.backward(torch.linspace(-1, 2, out.numel(), dtype=dtype).sin().view_as(out))
        traced.append(out.detach().double())
    traced += [tensor.grad.double() for tensor in (image, *banks.parameters())]
    return traced + [buffer.double() for buffer in banks.buffers()]


def distances(actual, expected):
    assert len(actual) == len(expected)
    return [
        ((a - e).abs().max() / e.abs().max().clamp(min=1e-2)).item()
        for a, e in zip(actual, expected, strict=True)
    ]


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('kernels', KERNELS)
def test_the_same_as_the_maps_one_by_one(kernels, norm):
    banks = banks_of(KERNELS[kernels], **NORMS[norm]).train('eval' not in norm)
    image = torch.randn(3, 1, 7, 5, dtype=torch.float64) + 3
    expected = trace_of(literal, banks, image)
    assert max(distances(trace_of(condense, banks, image), expected)) < TOLERANCE


@pytest.mark.parametrize('frozen', ['image', 'filters', 'norms'])
@pytest.mark.parametrize('training', [True, False])
def test_what_is_frozen_gets_no_gradient_and_the_rest_the_same(frozen, training):
    banks = banks_of(KERNELS['D+A+F']).train(training)
    for name, parameter in banks.named_parameters():
        parameter.requires_grad_(frozen != {'conv': 'filters', 'norm': 'norms'}[name.split('.')[1]])
    image = torch.randn(3, 1, 7, 5, dtype=torch.float64, requires_grad=frozen != 'image')
    leaves = [leaf for leaf in (image, *banks.parameters()) if leaf.requires_grad]
    actual, expected = (torch.autograd.grad(f(banks, image).sin().sum(), leaves) for f in (condense, literal))
    assert max(distances(actual, expected)) < TOLERANCE


@pytest.mark.parametrize('training', [True, False])
def test_second_derivatives(training):
    banks = banks_of(KERNELS['D+A+F'], maps=3).train(training)
    image = torch.randn(2, 1, 6, 4, dtype=torch.float64, requires_grad=True)
    leaves = [image, *banks.parameters()]

    def second(form):
        first = torch.autograd.grad(form(banks, image).sin().sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    assert max(distances(second(condense), second(literal))) < TOLERANCE


def rank_one(n, h, w):
    return torch.randn(n, 1, 1, 1) * torch.randn(h, 1) * torch.randn(w) + 1e-3 * torch.randn(n, 1, h, w)


def nearly_constant(n, h, w):
    return 5 + 1e-3 * torch.randn(n, 1, h, w)


def streams_that_differ_by_a_hundredth(n, h, w):
    rows = 1 + torch.randn(n, 1, h // 2, w)
    return torch.stack([rows, rows * (1 + 0.01 * torch.randn_like(rows))], dim=3).flatten(2, 3)


IMAGES = [rank_one, nearly_constant, streams_that_differ_by_a_hundredth]


@pytest.mark.parametrize('difference', [False, True], ids=['any filters', 'difference filters'])
@pytest.mark.parametrize('draw', IMAGES)
@pytest.mark.parametrize('kernels', ['2x1', '3x3', 'D+A+F'])
def test_float32_is_no_further_from_float64_than_the_maps(kernels, draw, difference):
    banks, image = banks_of(KERNELS[kernels], maps=8, dtype=torch.float32), draw(8, 32, 16)
    if difference:  # a filter that sums to nearly nothing sees a small rest of large values
        image = image + 30
        for bank in banks:
            kernel = bank.conv.weight.data
            kernel -= kernel.mean((2, 3), keepdim=True) * (1 - 1e-4)
    exact = trace_of(literal, banks, image)
    of_maps = distances(trace_of(literal, banks, image, torch.float32), exact)
    of_filter = distances(trace_of(condense, banks, image, torch.float32), exact)
    # one rounding to float32 at the end is there in either form
    assert all(mine <= theirs + 3e-7 for mine, theirs in zip(of_filter, of_maps, strict=True))


def test_a_constant_image_has_no_variance():
    banks = banks_of(KERNELS['3x3'], dtype=torch.float32)
    image = torch.full((4, 1, 9, 9), 1234.567, requires_grad=True)
    out = condense(banks, image)
    out.sum().backward()
    torch.testing.assert_close(out, banks[0].norm.bias.mean().expand_as(out))
    assert all(tensor.grad.isfinite().all() for tensor in (image, *banks.parameters()))
    assert banks[0].norm.running_var.isfinite().all()


@pytest.fixture
def forms(monkeypatch):
    """The forms that gates have taken, in order."""
    taken = []
    monkeypatch.setattr(
        inner_imaging, 'condense', lambda banks, image: taken.append(len(banks)) or condense(banks, image)
    )
    return taken


def streams(batch=2, channels=2048):
    return [torch.randn(batch, channels, 1, 1) for _ in '12']


def test_large_images_take_one_filter_and_small_ones_the_maps(forms):
    cmpe_se(2048, planes=512)(*streams())
    assert forms == [1]
    InnerImaging(2048, planes=512)(*streams())
    assert forms == [1, 3]
    InnerImaging(2048, planes=512, aggregate='code')(*streams())  # each bank has a map of its own
    assert forms == [1, 3, 1, 1, 1]
    cmpe_se(64, planes=16)(*streams(channels=64))
    assert len(forms) == 5
    InnerImaging(64, planes=16)(*streams(channels=64))
    assert len(forms) == 6


def test_gates_are_the_same_in_both_forms(forms):
    gate, maps = InnerImaging(2048, planes=512).double(), [s.double() for s in streams()]
    expected = gate(*maps)
    gate.filters[1].conv.register_forward_hook(lambda *_: None)  # one bank is looked at: the others collapse
    torch.testing.assert_close(gate(*maps), expected, rtol=0, atol=TOLERANCE)
    assert forms == [3, 1, 1]


def hooked_conv(gate):
    seen = []
    gate.filters[0].conv.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    return lambda: seen == [(2, 32, 2, 2048)]


def hooked_norm(gate):
    seen = []
    gate.filters[0].norm.register_full_backward_hook(lambda module, g_in, g_out: seen.append(g_out[0].shape))
    return lambda: seen == [(2, 32, 2, 2048)]


def patched_forward(gate):
    conv = gate.filters[0].conv
    conv.forward = lambda x: nn.Conv2d.forward(conv, 2 * x)


def parametrized(gate):
    parametrizations.weight_norm(gate.filters[0].conv)


def group_norm(gate):
    gate.filters[0].norm = nn.GroupNorm(2, 32)


def own_kind_of_batch_norm(gate):
    class Halved(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x) / 2

    gate.filters[0].norm = Halved(32)


@pytest.mark.parametrize(
    'change',
    [hooked_conv, hooked_norm, patched_forward, parametrized, group_norm, own_kind_of_batch_norm],
)
def test_who_looks_at_the_maps_finds_them(forms, change):
    gate = cmpe_se(2048, planes=512)
    as_wanted = change(gate)
    gate(*streams()).sum().backward()
    assert forms == []
    assert as_wanted is None or as_wanted()


def test_a_hook_on_a_bank_sees_its_condensed_map(forms):
    gate, seen = InnerImaging(2048, planes=512), []
    gate.filters[2].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    gate(*streams())
    assert seen == [(2, 1, 256, 16)]
    assert forms == [1, 1, 1]


def test_a_global_hook_sees_the_convolution(forms):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        cmpe_se(2048, planes=512)(*streams())
    finally:
        handle.remove()
    assert nn.Conv2d in seen
    assert forms == []


def counted(gate, image):
    with FlopCounterMode(display=False) as counter:
        gate(image)
    assert counter.get_total_flops() == 2 * 32 * image.numel()


def traced(gate, image):
    graph = torch.jit.trace(gate, image, check_trace=False).inlined_graph
    assert 'convolution' in str(graph)


def mapped(gate, image):
    torch.func.vmap(gate, randomness='error')(image[None])


def dual(gate, image):
    with forward_ad.dual_level():
        out = gate(forward_ad.make_dual(image, torch.ones_like(image)))
        assert forward_ad.unpack_dual(out).tangent.isfinite().all()


def on_meta(gate, image):
    assert gate.to('meta')(image.to('meta')).shape == image.shape


def exported(gate, image):
    program = torch.export.export(gate, (image,))
    assert 'conv2d' in str(program.graph)


@pytest.mark.parametrize('use', [counted, traced, mapped, dual, on_meta, exported])
def test_who_rewrites_the_operations_finds_the_plain_ones(forms, use):
    bank = GroupingFilter((1, 1), 32, False, dict(type='BN')).eval()
    image = torch.randn(2, 1, 2, 2048)
    bank(image)
    assert forms == [1]
    use(bank, image)
    assert forms == [1]


def test_one_value_a_channel_is_torchs_error():
    gate = InnerImaging(1, maps=2, filters=((1, 1), (1, 1), (1, 1)), streams=1, fold=None)
    with pytest.raises(ValueError, match='Expected more than 1 value per channel'):
        gate(torch.randn(1, 1, 4, 4))


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason='gloo is needed')
def test_shared_statistics_are_those_of_all_processes(tmp_path):
    shared = banks_of(KERNELS['D+A+F'], norm_type='SyncBN')
    image = torch.randn(5, 1, 6, 4, dtype=torch.float64)
    image[:2] = 3 * image[:2] + 5  # the processes' means lie apart
    torch.save((shared, image), tmp_path / 'inputs.pt')
    torch.multiprocessing.spawn(bank_of_half_a_batch, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1))

    banks = nn.SyncBatchNorm.convert_sync_batchnorm(shared)  # alone, torch's takes the batch as it is
    image.requires_grad_()
    out = literal(banks, image)
    out.sin().sum().backward()
    buffers, weights = len(list(banks.buffers())), list(banks.parameters())
    actual = [torch.cat([a, b]) for a, b in zip(first[:2], second[:2], strict=True)]
    assert max(distances(actual, [out.detach(), image.grad])) < TOLERANCE
    for process in (first, second):
        running = process[2 : 2 + buffers]
        assert (
            max(distances([b.double() for b in running], [b.double() for b in banks.buffers()])) < TOLERANCE
        )
    summed = [a + b for a, b in zip(first[2 + buffers :], second[2 + buffers :], strict=True)]
    assert max(distances(summed, [weight.grad for weight in weights])) < TOLERANCE
