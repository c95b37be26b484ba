"""Benchmarks: the nets are those that are named, counts are true, rounds take turns, nothing is ignored."""

import json
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('matplotlib', reason='plots need matplotlib (extra demo)')
pytest.importorskip('torchvision', reason='a peer of every benchmark (extra mm)')

from PIL import Image

from helpers.checkpoint_tools import tool
from inimg_mm.errors import UsageError
from inimg_mm.models.fused import switch
from inimg_mm.studies import benchmark_counts, benchmark_nets
from inimg_mm.studies.benchmark import benchmark, in_rounds
from inimg_mm.studies.benchmark_counts import (
    CONVOLUTION,
    COPY,
    ELEMENTWISE,
    NORM,
    OTHER,
    by_kind,
    kept_for_backward,
    kind_of,
)
from inimg_mm.studies.benchmark_nets import StageMaps, build_net
from inimg_mm.studies.benchmark_settings import Point, Settings, check_settings, points_of
from inimg_mm.studies.benchmark_steps import Result, captured, prepare, timed
from inimg_mm.studies.benchmark_table import machine, machine_lines, record, table
from inimg_mm.visualization.benchmark_plot import plot_benchmark
from inimg_mm.zoo.complexity import measure

pytestmark = pytest.mark.usefixtures('cpu_only')
NETS = """
from torch import nn

def small(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())

def broken():
    raise OSError('no weights')

number = 3
"""
TINY = ['resnet18', 'seresnet18']
FIRST_STEP = Point(2, 32, 32, 8)


@pytest.fixture
def cpu_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)


@pytest.fixture
def own(tmp_path):
    """The name of a net in a file."""
    path = tmp_path / 'nets.py'
    path.write_text(NETS)
    return lambda function: f'file:{path}:{function}'


# ---- the nets -------------------------------------------------------------------------------------------


def four_maps(net, side=64):
    with torch.no_grad():
        net.eval()
        maps = net(torch.randn(1, 3, side, side))
    return [(m.shape[1], side // m.shape[2]) for m in maps]


@pytest.mark.parametrize(
    'name',
    ['resnet18', 'torchvision:resnet18', 'timm:resnet18', 'pytorchcv:resnet18', 'mmdet:ResNet-18',
     'mmpretrain:ResNet-18', 'mmpose:ResNet-18'],
)  # fmt: skip
def test_the_same_net_of_every_project(name):
    source = name.partition(':')[0] if ':' in name else 'torch'
    pytest.importorskip(source, reason=f'{source} is not installed')
    net = build_net(name)
    assert four_maps(net) == [(64, 4), (128, 8), (256, 16), (512, 32)]
    assert sum(p.numel() for p in net.parameters()) == measure('resnet18', num_classes=0).params


def test_what_ends_a_net_belongs_to_its_last_stage():
    pytest.importorskip('pytorchcv', reason='pytorchcv is not installed (extra bench)')
    net = build_net('pytorchcv:preresnet18')
    assert [name for name, _ in net.named_children()][-1] == 'post_activ'
    maps = net(torch.randn(2, 3, 64, 64))
    assert len(maps) == 4
    assert maps[-1].min() == 0


def test_a_net_without_stages_stays_whole():
    net = build_net('torchvision:squeezenet1_1')
    assert not isinstance(net, StageMaps)
    assert net(torch.randn(1, 3, 64, 64)).shape == (1, 1000)


def test_a_net_of_a_file(own):
    assert [type(part) for part in build_net(own('small'))] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]


def test_the_zoo_takes_widths_and_the_switch():
    net = build_net('seresnet18', 8, fused='auto')
    assert (net.base_channels, net.fused) == (8, 'auto')
    with pytest.raises(UsageError, match='--widths are the base channels of zoo models, and torchvision'):
        build_net('torchvision:resnet18', 8)
    with pytest.raises(UsageError, match='base_channels'):
        build_net('inception_v3', 8)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('seresnet5', r"no model 'seresnet5' in the zoo; .*seresnet50"),
        ('tv:resnet50', r"no 'tv' in tv:resnet50; choose from \['torchvision', .*'mmdet'"),
        ('torchvision:ResNet5', r"torchvision has no 'ResNet5'; near it: .*resnet50"),
        ('file:nets.py', 'file:PATH.py:CALLABLE, got file:nets.py'),
        ('file:nowhere.py:net', 'there is no file nowhere.py'),
    ],
)
def test_unknown_nets(name, message):
    with pytest.raises(UsageError, match=message):
        build_net(name)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('timm:seresnet5', r"timm has no 'seresnet5'; near it: .*seresnet50"),
        ('pytorchcv:seresnet5', r"pytorchcv has no 'seresnet5'; near it: .*seresnet50"),
        ('mmdet:resnet-50', r"mmdet has no 'resnet'; near it: .*ResNet"),
        ('mmpretrain:SEResNet-51', r'mmpretrain:SEResNet-51 cannot be built: KeyError.*51'),
        ('mmpose:SCNet-fifty', "'fifty' is no depth"),
    ],
)
def test_unknown_nets_of_peers(name, message):
    source = name.partition(':')[0]
    pytest.importorskip(source, reason=f'{source} is not installed')
    with pytest.raises(UsageError, match=message):
        build_net(name)


def test_broken_files(own):
    with pytest.raises(UsageError, match=r"nets.py has no 'smal'; near it: small"):
        build_net(own('smal'))
    with pytest.raises(UsageError, match="has no 'number'"):
        build_net(own('number'))
    with pytest.raises(UsageError, match='broken cannot be built: OSError: no weights'):
        build_net(own('broken'))


@pytest.mark.parametrize(
    ('name', 'extra'),
    [('timm:resnet50', 'bench'), ('mmpose:SCNet-50', 'pose'), ('torchvision:resnet50', 'mm')],
)
def test_a_missing_project_is_refused_with_what_installs_it(monkeypatch, name, extra):
    def fail(module):
        raise ImportError(f'no {module}')

    monkeypatch.setattr(benchmark_nets.importlib, 'import_module', fail)
    with pytest.raises(UsageError, match=rf"pip install 'inimg-mm\[{extra}\]'"):
        build_net(name)


# ---- counts ---------------------------------------------------------------------------------------------


def test_kept_bytes_count_each_storage_once():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1, bias=False), nn.ReLU(), nn.Conv2d(4, 5, 1, bias=False), nn.Sigmoid()
    )
    image = torch.randn(2, 3, 6, 7)
    with kept_for_backward(net, image) as kept:
        net(image)
    # the ReLU's output is kept by itself and by the next convolution; image and weights are there anyway
    assert sorted(kept) == [4 * 2 * 4 * 42, 4 * 2 * 5 * 42]


def test_a_part_counts_as_the_whole_that_it_holds():
    image = torch.randn(1, 1, 8, 8)
    with kept_for_backward(nn.Identity(), image) as kept:
        maps = (image + 0).requires_grad_()
        maps[:, :, :2].sin(), maps[:, :, 2:].sin()
    assert kept == [4 * 64]


KERNELS = {
    'void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true>': COPY,
    'Memcpy DtoD (Device -> Device)': COPY,
    'Memset (Device)': COPY,
    'void at::native::elementwise_kernel<128, 4, at::native::direct_copy_kernel_cuda(...)>': COPY,
    'void at::native::unrolled_elementwise_kernel<at::native::bfloat16_copy_kernel_cuda(...)>': COPY,
    'void at::native::(anonymous namespace)::CatArrayBatchedCopy<float, unsigned int, 4, 64, 64>': COPY,
    'sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64': CONVOLUTION,
    'void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816dgrad_optimized_bf16_64x64>': CONVOLUTION,
    'void cutlass::device_kernel<cute::Copy_Atom<cute::SM90_TMA_LOAD>>': CONVOLUTION,
    'void implicit_convolve_sgemm<float, float, 128, 5, 5, 3, 3, 3, 1, false>': CONVOLUTION,
    'nvjet_hsh_128x64_64x9_2x1_v_bz_TNN': CONVOLUTION,
    'void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false>': CONVOLUTION,
    'void cudnn::bn_fw_tr_1C11_kernel_NCHW<__half2, float, 512, true, 1, true>': NORM,
    'void cudnn::bn_bw_1C11_kernel_new<float, float, float2, 512, true, 1>': NORM,
    'void at::native::batch_norm_transform_input_channels_last_kernel<c10::BFloat16, float, 4>': NORM,
    'void at::native::batch_norm_backward_elemt_channels_last_kernel<4, c10::BFloat16>': NORM,
    'cudnn_generated_fort_native_sm90_bnorm_fprop': NORM,
    'void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>': ELEMENTWISE,
    'void at::native::vectorized_elementwise_kernel<8, threshold_kernel_impl<c10::BFloat16>>': ELEMENTWISE,
    'void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, MeanOps<float>>>': OTHER,
    'void at::native::(anonymous namespace)::max_pool_forward_nhwc<c10::BFloat16, int>': OTHER,
    'triton_poi_fused_convolution_relu_threshold_backward_3': ELEMENTWISE,
    'triton_poi_fused__to_copy_add_2': ELEMENTWISE,
    'triton_red_fused__native_batch_norm_legit_functional_7': NORM,
    'triton_per_fused_mean_4': OTHER,
    'triton_tem_fused_convolution_12': CONVOLUTION,
}


@pytest.mark.parametrize('kernel', KERNELS)
def test_kinds_of_kernels(kernel):
    assert kind_of(kernel) == KERNELS[kernel]


def test_the_projects_own_kernels_are_norms():
    pytest.importorskip('triton', reason='the fused kernels need Triton')
    assert {kind_of(name) for name in ('moments', 'gradient_sums', 'calibrate', 'excite', 'merge')} == {NORM}


def test_kernels_are_what_the_card_ran(monkeypatch):
    """On a stand-in for a profile: what the host did and people's marks are no kernels."""

    def event(name, device, **more):
        span = SimpleNamespace(elapsed_us=lambda: 1500)
        return SimpleNamespace(name=name, device_type=device, time_range=span, **more)

    card, host = torch.autograd.DeviceType.CUDA, torch.autograd.DeviceType.CPU
    events = [event('Memset (Device)', card), event('cudaLaunchKernel', host)]
    events += [event('step', card, is_user_annotation=True)]
    profile = nullcontext(SimpleNamespace(events=lambda: events))
    monkeypatch.setattr(torch.profiler, 'profile', lambda activities: profile)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: None)
    steps = []
    found = benchmark_counts.kernels_of(lambda: steps.append(1))
    assert (len(steps), tuple(found[COPY]), tuple(benchmark_counts.total(found))) == (1, (1.5, 1), (1.5, 1))


def test_kernels_add_up_by_kind():
    found = by_kind([('moments', 0.5), ('Memset (Device)', 0.25), ('Memset (Device)', 0.5), ('x', 1.0)])
    assert {kind: tuple(each) for kind, each in found.items() if each.launches} == {
        COPY: (0.75, 2),
        **({NORM: (0.5, 1), OTHER: (1.0, 1)} if kind_of('moments') == NORM else {OTHER: (1.5, 2)}),
    }


# ---- what is measured -----------------------------------------------------------------------------------


def test_a_capture_takes_one_step_after_others(monkeypatch):
    """On stand-ins for CUDA: which step is captured, and that what is timed is the graph."""
    log = []

    class Graph:
        def replay(self):
            log.append('replay')

    @contextmanager
    def inside(what):
        log.append(f'enter {what if isinstance(what, str) else "graph"}')
        yield
        log.append('leave')

    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda: stream)
    monkeypatch.setattr(torch.cuda, 'Stream', lambda: stream)
    monkeypatch.setattr(torch.cuda, 'stream', lambda each: inside('stream'))
    monkeypatch.setattr(torch.cuda, 'CUDAGraph', Graph)
    monkeypatch.setattr(torch.cuda, 'graph', inside)
    replay = captured(lambda: log.append('step'), warm_ups=2)
    replay()
    assert log == ['enter stream', 'step', 'step', 'leave', 'enter graph', 'step', 'leave', 'replay']


def test_points_are_the_first_and_each_further_value():
    assert points_of([8, 16], [(32, 32), (64, 96)], [4, 8]) == [
        Point(8, 32, 32, 4),
        Point(8, 64, 96, 4),
        Point(16, 32, 32, 4),
        Point(8, 32, 32, 8),
    ]
    assert points_of([8, 8], [(32, 32)]) == [Point(8, 32, 32)]
    for bad in (([0], [(32, 32)]), ([1], [(32, 0)]), ([1], [(32, 32)], [-4])):
        with pytest.raises(UsageError, match='at least 1'):
            points_of(*bad)


def test_the_nets_take_turns():
    calls = []

    def timer(name):
        return lambda: calls.append(name) or len(calls)

    noted = []
    in_rounds([timer('a'), timer('b'), timer('c')], 2, lambda *each: noted.append(each))
    assert calls == ['a', 'b', 'c'] * 2
    assert noted == [(0, 1), (1, 2), (2, 3), (0, 4), (1, 5), (2, 6)]


def test_a_step_is_timed_by_the_clock():
    events = []
    ticks = iter([10.0, 12.5])
    assert timed(lambda: events.append('step'), 'cpu', lambda: events.append('clock') or next(ticks)) == 2.5
    assert events == ['clock', 'step', 'clock']


def test_ratios_are_of_pairs(monkeypatch, own):
    ticks = iter([9, 9, 9, 9, 1.0, 2.0, 10.0, 30.0, 4.0, 4.0])
    monkeypatch.setattr('inimg_mm.studies.benchmark.timed', lambda step, device: next(ticks))
    nets, settings = [own('small'), own('small')], Settings(rounds=3)
    ((first, second),) = benchmark(nets, [Point(1, 8, 8)], settings)
    assert (first.seconds, second.seconds) == ([1, 10, 4], [2, 30, 4])
    assert (first.ratios, second.ratios) == ([1, 1, 1], [2, 3, 1])
    ((found, other),) = [record('c', {}, settings, [first, second])['results']]
    assert (found['ratio'], other['ratio'], other['ratio_quartiles']) == (1, 2, (1.5, 2, 2.5))
    assert (other['median'], other['minimum'], other['spread']) == (4, 2, (17 - 3) / 4)


def prepared(name, point, **settings):
    """A net, what is counted of it, and its step."""
    net = build_net(name, point.base_channels, settings.get('fused', False))
    return net, *prepare(net, name, point, Settings(**settings))


def test_what_a_training_step_does():
    net, result, step = prepared('seresnet18', FIRST_STEP, channels_last=True)
    assert net.training
    assert net.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert result.outputs == [(2, 8, 8, 8), (2, 16, 4, 4), (2, 32, 2, 2), (2, 64, 1, 1)]
    assert result.params == sum(p.numel() for p in net.parameters())
    assert result.flops == 2 * measure('seresnet18', 32, 0, base_channels=8).macs
    assert result.kept_bytes > 0
    assert (result.peak_bytes, result.kernels, result.fused_parts) == (None, None, None)
    grads, before = [], int(net.bn1.num_batches_tracked)
    net.conv1.weight.register_hook(grads.append)
    step()
    assert int(net.bn1.num_batches_tracked) == before + 1
    assert grads[0].abs().sum() > 0
    assert all(p.grad is None for p in net.parameters())


def test_the_loss_is_the_sum_of_the_maps_means():
    net, _, step = prepared('resnet18', FIRST_STEP)
    grads = {}
    for name in ('layer1', 'layer4'):
        last = net.get_submodule(name)[-1]
        last.register_forward_hook(
            lambda module, args, out, name=name: out.register_hook(partial(grads.setdefault, name)) and None
        )
    step()
    assert torch.allclose(grads['layer4'], torch.full((2, 64, 1, 1), 1 / 128))
    assert not torch.allclose(
        grads['layer1'], torch.full((2, 8, 8, 8), 1 / 1024)
    )  # the next stages add theirs


def test_norms_stay_in_eval_mode():
    net, _, step = prepared('resnet18', FIRST_STEP, norm_eval=True)
    before = net.bn1.running_mean.clone()
    step()
    assert torch.equal(net.bn1.running_mean, before)
    assert net.training


def test_inference_keeps_nothing(own):
    net, result, step = prepared(own('small'), Point(2, 8, 8), mode='infer')
    modes = []
    net.register_forward_hook(lambda net, args, out: modes.append((net.training, out.is_inference())))
    step()
    assert modes == [(False, True)]
    assert result.kept_bytes is None


def test_bfloat16_is_under_autocast(own):
    net, _, step = prepared(own('small'), Point(2, 8, 8), dtype='bfloat16')
    dtypes = []
    net.register_forward_hook(lambda net, args, out: dtypes.append((args[0].dtype, out.dtype)))
    step()
    assert dtypes == [(torch.float32, torch.bfloat16)]
    assert net[0].weight.dtype == torch.float32


def test_a_compiled_step(own):
    _, result, step = prepared(own('small'), Point(2, 8, 8), compiler='eager')
    step()
    assert result.outputs == [(2, 4, 6, 6)]


def test_what_a_net_cannot_run_is_one_sentence():
    with pytest.raises(
        UsageError, match=r'seresnet18 cannot run 1 x 32 x 32, 8 base channels: .*more than 1'
    ):
        list(benchmark(['seresnet18'], [Point(1, 32, 32, 8)], Settings()))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(graph=True), '--graph captures a CUDA graph, and there is no GPU here'),
        (dict(graph=True, compiler='eager', device='cuda'), 'leave out --compile'),
        (dict(dtype='float16'), '--dtype float16 needs a GPU'),
        (dict(norm_eval=True, mode='infer'), '--norm-eval has no effect with --mode infer'),
        (dict(fused='auto'), '--fused has no effect here: there are none for cpu'),
        (dict(fused=True, compiler='eager'), '--fused has no effect with --compile'),
        (dict(compiler='nothing'), "no backend 'nothing'"),
        (dict(rounds=0), '--rounds must be an integer of at least 1'),
        (dict(warm_ups=0), '--warm-ups must be an integer of at least 1'),
    ],
)
def test_what_has_no_effect_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        check_settings(Settings(**settings), ['resnet18'])


def test_the_switch_needs_a_zoo_model():
    with pytest.raises(UsageError, match='--fused is of zoo models, and --models names none'):
        check_settings(Settings(fused='auto'), ['torchvision:resnet18'])


def test_fused_parts_are_told(monkeypatch):
    monkeypatch.setattr(switch, '_reason', lambda *_: None)
    settings = Settings(fused='auto')
    check_settings(settings, TINY)
    _, result, _ = prepared('seresnet18', FIRST_STEP, fused='auto')
    assert result.fused_parts == (9, 9)  # two blocks a stage, and the stem
    assert '| 9 of 9 |' in with_times(result, settings)
    assert '| parts fused |' in with_times(result, settings)


def with_times(result, settings):
    result.seconds, result.ratios = [1.0], [1.0]
    return table(result.point, settings, [result])


# ---- what comes out -------------------------------------------------------------------------------------


def test_the_tool(tmp_path, own):
    options = ['--batch', 2, 3, '--sizes', 32, '32x64', '--rounds', 2, '--warm-ups', 1, '--threads', 1]
    status, out, error = tool(
        'benchmark', '--models', own('small'), own('small'), *options, '--out-dir', tmp_path
    )
    assert status == 0, error
    for part in ('no GPU', 'threads: 1', f'torch {torch.__version__}', 'load, means', '**3 x 32 x 32**'):
        assert part in out
    found = json.loads((tmp_path / 'benchmark.json').read_text())
    assert found['machine']['threads'] == 1
    assert '--batch 2 3' in found['command']
    assert found['settings']['rounds'] == 2
    assert len(found['results']) == 6
    first = found['results'][0]
    assert first['point'] == dict(batch=2, height=32, width=32, base_channels=None)
    assert len(first['seconds']) == len(first['ratios']) == 2
    assert first['params'] == 4 * 27 + 4 + 8
    assert first['flops'] == 2 * 30 * 30 * 4 * 27
    assert (tmp_path / 'benchmark.md').read_text().count('| 1 map |') == 6
    picture = np.asarray(Image.open(tmp_path / 'benchmark.png').convert('RGBA'))
    assert picture[..., 3].min() == 255


def test_the_tool_draws_nothing_where_nothing_grows(tmp_path, own):
    arguments = [
        '--models',
        own('small'),
        '--sizes',
        8,
        '--rounds',
        1,
        '--mode',
        'infer',
        '--out-dir',
        tmp_path,
    ]
    status, out, _ = tool('benchmark', *arguments)
    assert status == 0
    assert 'nothing is drawn' in out
    assert not (tmp_path / 'benchmark.png').exists()


def test_the_tool_refuses_in_one_line(tmp_path):
    for options, message in (
        (['--models', 'seresnet5'], "no model 'seresnet5'"),
        (['--models', 'resnet18', '--graph'], '--graph'),
        (['--models', 'resnet18', '--threads', 0], '--threads'),
    ):
        status, _, error = tool('benchmark', *options, '--out-dir', tmp_path)
        assert (status, error.strip().count('\n')) == (2, 0)
        assert message in error


def on_a_card(name, scale):
    kernels = by_kind([('sm90_xmma_fprop', 2.0 * scale), ('cudnn::bn_fw_tr', 1.0), ('Memset (Device)', 0.5)])
    sizes = dict(params=25_000_000, flops=8_000_000_000, kept_bytes=2**20 * scale, peak_bytes=2**21 * scale)
    return Result(
        name, Point(64, 224, 224), [(64, 2048, 7, 7)] * 4, **sizes, kernels=kernels,
        seconds=[0.02 * scale] * 3, ratios=[float(scale)] * 3,
    )  # fmt: skip


def test_the_table_of_a_card():
    rows = table(Point(64, 224, 224), Settings(device='cuda'), [on_a_card('a', 1), on_a_card('b', 2)])
    head, _, first, second = (line.strip('| ').split(' | ') for line in rows.splitlines()[2:])
    assert len(head) == len(first) == len(second)
    cells = list(zip(head, second, strict=True))
    assert cells[2:6] == [('median, ms', '40.0'), ('minimum', '40.0'), ('spread', '0%'), ('ratio', '2.000')]
    assert cells[-10:] == [
        ('peak, MiB', '4'),
        ('ratio', '2.000'),
        ('kernels, ms', '5.50'),
        ('ratio', '1.571'),
        ('launches', '3'),
        ('convolution, ms', '4.00'),
        ('norm, ms', '1.00'),
        ('elementwise, ms', '0.00'),
        ('copy, ms', '0.50'),
        ('other, ms', '0.00'),
    ]


def test_the_plot_has_a_column_for_what_grows(tmp_path):
    results = []
    for point in points_of([2, 4], [(32, 32), (64, 64)], [8, 16]):
        for number, name in enumerate(TINY):
            cost = point.batch * point.height * point.base_channels * (1 + number)
            results.append(
                Result(name, point, [], 1, 1, 1024 * cost, seconds=[1.0 * cost], ratios=[1.0 + number])
            )
    path = plot_benchmark(results, tmp_path / 'a.png', 'a title')
    tall, wide = Image.open(path).size[::-1]
    assert wide > 1.5 * tall
    narrow = plot_benchmark([r for r in results if r.point.batch == 2 and r.point.base_channels == 8],
                            tmp_path / 'b.png', 'a title')  # fmt: skip
    assert Image.open(narrow).size == (wide // 3, tall)
    assert plot_benchmark(results[:2], tmp_path / 'c.png', 'a title') is None


def test_the_machine_is_told():
    facts = machine('cpu')
    lines = list(machine_lines(facts))
    assert facts['versions']['torch'] == torch.__version__
    assert lines[0].startswith('machine: no GPU; ')
