"""What a graph answers and what it leaves behind: with a stand-in for the recording, and on a GPU."""

import copy
import logging

import pytest
import torch
from torch import nn

from helpers.graphs import EagerRecorder
from helpers.nets import randomise
from inimg_mm.engine.hooks.cuda_graph import graphed_backbone
from inimg_mm.engine.hooks.cuda_graph.graphed_backbone import GraphedBackbone
from inimg_mm.engine.hooks.cuda_graph.recording import CUDARecorder
from inimg_mm.errors import UsageError
from inimg_mm.models import backbones


@pytest.fixture(
    params=[
        'cpu',
        pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')),
    ]
)
def device(request, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    return torch.device(request.param, 0) if request.param == 'cuda' else torch.device('cpu')


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(
        graphed_backbone, 'print_log', lambda text, logger, level=logging.INFO: lines.append((text, level))
    )
    return lines


def build(device, kind='SEResNet', **options):
    net = getattr(backbones, kind)(**{'depth': 18, 'base_channels': 8, 'out_indices': (0, 1), **options})
    return randomise(net).to(device).train()


def recorder(device):
    return CUDARecorder(device) if device.type == 'cuda' else EagerRecorder(device)


class Pair:
    """The same net twice, once with a graph; both take every step, and must stay equal."""

    def __init__(self, net, device, used=(0, 1)):
        self.nets, self.used = (net, copy.deepcopy(net)), used
        self.graphed = GraphedBackbone(net, recorder(device))
        self.optimizers = [torch.optim.SGD(n.parameters(), 0.05, 0.9, weight_decay=0.01) for n in self.nets]

    @property
    def replays(self):
        return 0 if self.graphed.graph is None else self.graphed.graph.replays - 1  # one at the recording

    def outputs(self, x):
        return self.graphed(x), self.nets[1](x)

    def step(self, *images, apply=True):
        self.graphed.begin_iteration()
        both = [self.outputs(x) for x in images]
        assert all([m.requires_grad for m in a] == [m.requires_grad for m in b] for a, b in both)
        for outs in zip(*both, strict=True):
            loss = sum((o[i] * o[i].detach().cos()).mean() for o in outs for i in self.used)
            loss.backward()
        self.assert_equal()
        if apply:
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()

    def assert_equal(self):
        first, second = (
            {**dict(n.named_buffers()), **{k: p.grad for k, p in n.named_parameters()}} for n in self.nets
        )
        for name, value in first.items():
            other = second[name]
            assert (value is None) == (other is None), name
            assert value is None or torch.equal(value, other), name


def batch(device, number, size=(12, 10), **options):
    torch.manual_seed(number)
    return torch.randn(2, 3, *size).to(device=device, **options)


NETS = [
    dict(),
    dict(kind='CMPESEResNet', attention=dict(view='double_fc')),
    dict(kind='InnerImagingResNet', base_channels=16),
    dict(kind='SCNet', depth=50, out_indices=(0, 1, 2, 3)),
    dict(kind='PreActResNet', depth=18),
    dict(norm_eval=True, frozen_stages=1),
]


@pytest.mark.parametrize('options', NETS, ids=str)
def test_steps_are_bit_equal(device, options):
    pair = Pair(build(device, **options), device)
    for number in range(4):
        pair.step(batch(device, number, (33, 32)))
    assert pair.replays == 3


class Watch(nn.ReLU):
    """Notes whether casts of weights are kept."""

    cached = False

    def forward(self, x):
        self.cached = torch.is_autocast_cache_enabled()
        return super().forward(x)


@pytest.mark.parametrize('dtype', [torch.bfloat16, None])
def test_channels_last_and_mixed_precision(device, dtype):
    net = build(device).to(memory_format=torch.channels_last)
    net.layer1[0].relu = Watch(inplace=True)
    pair = Pair(net, device)
    for number in range(4):
        x = batch(device, number, memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            pair.step(x)
            assert torch.is_autocast_cache_enabled()
    assert pair.replays == 3
    assert [net.layer1[0].relu.cached for net in pair.nets] == [False, True]
    pair.step(batch(device, 5))  # another layout and precision
    assert pair.replays == 3


def test_gradients_accumulate(device):
    pair = Pair(build(device), device)
    for number in range(6):
        pair.step(batch(device, number), apply=number % 3 == 2)
    assert pair.replays == 5


def test_other_shapes_run_eagerly(device):
    pair = Pair(build(device), device)
    for number, size in enumerate([(8, 8), (12, 10), (12, 10), (8, 8), (12, 10), (8, 8), (8, 8)]):
        pair.step(batch(device, number, size))
    assert pair.replays == 2


def test_evaluation_runs_eagerly(device):
    pair = Pair(build(device), device)
    for number in range(3):
        pair.step(batch(device, number))
    for mode, grad in ((True, False), (False, True), (False, False)):
        for net in pair.nets:
            net.train(mode)
        with torch.set_grad_enabled(grad):
            assert all(map(torch.equal, *pair.outputs(batch(device, 9))))
    assert pair.replays == 2
    for net in pair.nets:
        net.train()
    pair.step(batch(device, 3))
    assert pair.replays == 3


def test_recording_leaves_no_trace(device):
    """Neither in the statistics nor in the generators nor in gradients that are there."""
    net = build(device)
    graphed = GraphedBackbone(net, recorder(device))
    x = batch(device, 0)
    graphed(x)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
        parameter.register_hook(lambda gradient: pytest.fail('this is not to be reached while recording'))
    before, states = copy.deepcopy(dict(net.named_buffers())), graphed_backbone.random_states(x.device)
    graphed._record(x, graphed._call(x))
    assert graphed.graph is not None
    assert graphed_backbone.random_states(x.device) == states
    assert all(torch.equal(before[name], buffer) for name, buffer in net.named_buffers())
    assert all((parameter.grad == 1).all() for parameter in net.parameters())


@pytest.mark.parametrize('used', [(0,), (1,)])
def test_what_no_gradient_reaches_has_none(device, used):
    pair = Pair(build(device, depth=18), device, used)
    for number in range(4):
        pair.step(batch(device, number))
    assert pair.replays == 3
    pair.used = (0, 1)
    pair.step(batch(device, 5))
    assert pair.replays == 4


def test_two_calls_before_the_backward_pass(device):
    pair = Pair(build(device), device)
    for number in range(0, 8, 2):
        pair.step(batch(device, number), batch(device, number + 1))
    assert pair.replays == 4


def test_one_backward_pass_for_each_forward_pass(device):
    graphed = GraphedBackbone(build(device), recorder(device))
    graphed(batch(device, 0))
    first, second = (graphed(batch(device, 1))[0].sum() for _ in range(2))  # the second one runs eagerly
    second.backward()
    first.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match='one backward pass for each forward pass'):
        first.backward()
    late = graphed(batch(device, 2))[0].sum()
    graphed.begin_iteration()
    graphed(batch(device, 3))
    with pytest.raises(RuntimeError, match='before the next one'):
        late.backward()


def test_whoever_looks_at_a_part_sees_it(device):
    pair, seen = Pair(build(device), device), []
    for number in range(3):
        pair.step(batch(device, number))
    handle = pair.nets[0].layer1[0].bn1.register_forward_hook(lambda *_: seen.append(1))
    pair.step(batch(device, 4))
    handle.remove()
    assert (pair.replays, len(seen)) == (2, 1)
    pair.step(batch(device, 5))
    assert (pair.replays, len(seen)) == (3, 1)


def test_a_net_that_changes_is_recorded_anew(device):
    pair = Pair(build(device), device)
    changes = [
        lambda net: net.layer1.requires_grad_(False),
        lambda net: net.layer1.eval(),
        lambda net: net.conv1.__setattr__('weight', nn.Parameter(net.conv1.weight * 2)),
    ]
    for change in changes:
        for number in range(3):
            pair.step(batch(device, number))
        assert pair.replays == 2
        for net in pair.nets:
            change(net)
    pair.step(batch(device, 4))
    assert pair.graphed.graph is None


def test_random_numbers_are_refused(device):
    net = build(device)
    net.layer1[0].relu = nn.RReLU()
    graphed = GraphedBackbone(net, recorder(device))
    graphed(batch(device, 0))
    with pytest.raises(UsageError, match='draws random numbers in every step'):
        graphed(batch(device, 1))


class Failing(EagerRecorder):
    def record(self, work):
        raise RuntimeError('operation not permitted when stream is capturing\nand more')


class Wrong(EagerRecorder):
    """Replays nothing."""

    def record(self, work):
        return super().record(work)[0], lambda: None


@pytest.mark.parametrize(
    ('kind', 'reason'),
    [
        (Failing, "a step of 2x3x12x10 cannot be recorded: RuntimeError: ['operation not permitted when"),
        (Wrong, 'the first replay of a step of 2x3x12x10 was 1e+00 from the step'),
    ],
)
def test_where_it_fails_one_line_says_so(said, kind, reason):
    pair = Pair(build(torch.device('cpu')), torch.device('cpu'))
    pair.graphed._recorder = kind(torch.device('cpu'))
    for number in range(4):
        pair.step(batch(torch.device('cpu'), number))
    assert pair.graphed.graph is None
    ((text, level),) = said
    assert reason in text
    assert '\n' not in text
    assert level == logging.WARNING
