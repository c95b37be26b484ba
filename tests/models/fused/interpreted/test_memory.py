"""What is read and written where: canaries around every buffer, launches, and what is kept for backward."""

import pytest
import torch
from torch import nn

from helpers.fused import LAYOUTS, MODES, Ending, gate_of, maps, results, set_up
from inimg_mm.models import backbones
from inimg_mm.models.fused import (
    backward_passes,
    calibration_passes,
    image_passes,
    launcher,
    norm_act,
    passes,
    stem,
    stem_passes,
)
from inimg_mm.models.fused.calibrate import calibrate

CANARY = 12345.0
ROOM = 64
"""Values before and after each buffer; a multiple of what a vector access reads."""


def fenced(shape, dtype, layout=torch.contiguous_format):
    """A tensor with canaries before and behind it, and a function that says whether they live."""
    size = 1
    for side in shape:
        size *= side
    canary = CANARY if dtype.is_floating_point else 77
    room = torch.full((size + 2 * ROOM,), canary, dtype=dtype)
    body = room[ROOM : ROOM + size]
    if layout is torch.channels_last:
        n, c, h, w = shape
        body = body.view(n, h, w, c).permute(0, 3, 1, 2)
    else:
        body = body.view(shape)
    value = torch.full((), canary, dtype=dtype)
    return body, lambda: bool((room[:ROOM] == value).all() and (room[ROOM + size :] == value).all())


@pytest.fixture
def fences(monkeypatch):
    """Put every buffer of the passes between canaries; returns what tells whether they live."""
    alive = []

    def empty(*shape, like, dtype=torch.float32):
        body, check = fenced(shape, dtype)
        alive.append(check)
        return body

    def empty_map(like, dtype=None):
        last = like.is_contiguous(memory_format=torch.channels_last)
        body, check = fenced(like.shape, dtype or like.dtype, LAYOUTS[last])
        alive.append(check)
        return body

    def pooled_map(y, padding, dtype, pooled_map=stem_passes.pooled_map):
        return empty_map(pooled_map(y, padding, dtype))

    for module in (passes, backward_passes, image_passes):
        monkeypatch.setattr(module, 'empty', empty)
    monkeypatch.setattr(passes, 'empty_map', empty_map)
    monkeypatch.setattr(stem_passes, 'pooled_map', pooled_map)
    return alive


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('shape', [(2, 5, 3, 7), (2, 130, 1, 1)])
def test_nothing_is_read_or_written_outside(fences, shape, mode, layout):
    ending, _ = set_up(Ending(shape[1], gate_of('DoubleFC', shape[1]), projected=True), mode)
    inputs = []
    for values in maps(*shape):
        body, check = fenced(shape, torch.float32, layout)
        body.copy_(values.detach())
        inputs.append(body.detach().requires_grad_())
        fences.append(check)
    found = results(ending, ending, inputs)
    norm_act(inputs[0], ending.norm, ending.relu, True).sum().backward()
    assert len(fences) > 10
    assert all(alive() for alive in fences)
    largest = max(value.abs().max() for name, value in found.items() if 'running' not in name)
    assert largest < CANARY / 10  # no canary was read, either


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('view', ['pair_1x1', 'folded'])
def test_an_inner_image_stays_inside_too(fences, view, mode):
    ending, _ = set_up(Ending(10, gate_of(view, 10)), mode)
    found = results(ending, ending, maps(2, 10, 2, 3))
    assert len(fences) > 15
    assert all(alive() for alive in fences)
    assert max(value.abs().max() for name, value in found.items() if 'running' not in name) < CANARY / 10


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('mode', MODES)
def test_the_calibration_stays_inside_too(fences, mode, layout):
    norms, _ = set_up(nn.ModuleList(nn.BatchNorm2d(5) for _ in range(2)), mode)
    inputs = []
    for shape in ((2, 5, 7, 6), (2, 5, 7, 6), (2, 5, 2, 2)):
        body, check = fenced(shape, torch.float32, layout)
        body.copy_(maps(*shape, number=1)[0].detach())
        inputs.append(body.detach().requires_grad_())
        fences.append(check)
    out = calibrate(*inputs, *norms, True)
    out.sum().backward()
    assert all(alive() for alive in fences)
    assert max(x.abs().max() for x in (out, *(x.grad for x in inputs))) < CANARY / 10


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('pool', [nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, ceil_mode=True)], ids=str)
@pytest.mark.parametrize('shape', [(2, 5, 3, 7), (1, 5, 6, 2)])
def test_a_stem_stays_inside_too(fences, shape, pool, layout):
    norm, _ = set_up(nn.BatchNorm2d(5), 'batch')
    y, check = fenced(shape, torch.float32, layout)
    y.copy_(maps(*shape, number=1)[0].detach())
    y = y.detach().requires_grad_()
    fences.append(check)
    out = stem(y, norm, nn.ReLU(), pool, True)
    (go, check), last = fenced(out.shape, torch.float32, layout), len(fences)
    fences.append(check)
    out.backward(go.fill_(1.0))
    assert len(fences) > last + 3
    assert all(alive() for alive in fences)
    assert max(x.abs().max() for x in (out, y.grad, norm.weight.grad)) < CANARY / 10


@pytest.fixture
def launches(monkeypatch):
    """Count what is launched, the trial of the first use aside."""
    norm_act(*maps(2, 4, 3, 3, number=1), nn.BatchNorm2d(4), None, True)
    count = [0]

    def counted(*arguments, launch=launcher.launch, **options):
        count[0] += 1
        launch(*arguments, **options)

    for module in (launcher, passes, backward_passes, calibration_passes, image_passes, stem_passes):
        monkeypatch.setattr(module, 'launch', counted)
    return count


def forward_and_backward(count, function, *inputs):
    count[0] = 0
    out = function(*inputs)
    forward, count[0] = count[0], 0
    out.sum().backward()
    return forward, count[0]


@pytest.mark.parametrize(('mode', 'expected'), [('batch', (3, 3)), ('running', (1, 2)), ('frozen', (1, 1))])
def test_launches_of_a_norm(launches, mode, expected):
    norm, _ = set_up(nn.BatchNorm2d(6), mode)
    (y,) = maps(2, 6, 3, 4, number=1)
    assert forward_and_backward(launches, lambda y: norm_act(y, norm, nn.ReLU(), True), y) == expected


@pytest.mark.parametrize('recompute', [False, True])
@pytest.mark.parametrize(('mode', 'expected'), [('batch', (3, 3)), ('running', (1, 2)), ('frozen', (1, 1))])
def test_launches_of_a_stem(launches, mode, expected, recompute):
    norm, _ = set_up(nn.BatchNorm2d(6), mode)
    (y,) = maps(2, 6, 3, 4, number=1)
    parts = norm, nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    forward, backward = forward_and_backward(launches, lambda y: stem(y, *parts, True, recompute), y)
    assert (forward, backward - recompute) == expected


@pytest.mark.parametrize(
    ('kind', 'projected', 'mode', 'expected'),
    [
        (None, False, 'batch', (3, 3)),
        (None, True, 'batch', (4, 3)),
        (None, False, 'running', (1, 2)),
        (None, False, 'frozen', (1, 1)),
        ('SE', False, 'batch', (5, 6)),
        ('SE', True, 'batch', (6, 6)),
        ('SE', False, 'frozen', (4, 6)),
        ('DoubleFC', False, 'batch', (6, 6)),
        ('DoubleFC', True, 'batch', (6, 6)),
        ('pair_2x1', False, 'batch', (8, 9)),
        ('pair_1x1', True, 'batch', (8, 9)),
        ('folded', True, 'batch', (8, 9)),
        ('folded', False, 'running', (6, 9)),
    ],
)
def test_launches_of_a_tail(launches, kind, projected, mode, expected):
    ending, _ = set_up(Ending(6, gate_of(kind, 6), projected), mode)
    assert forward_and_backward(launches, ending, *maps(2, 6, 3, 4)) == expected


@pytest.mark.parametrize(('mode', 'expected'), [('batch', (4, 6)), ('running', (1, 4))])
def test_launches_of_a_calibration(launches, mode, expected):
    norms, _ = set_up(nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2)), mode)
    inputs = [*maps(2, 4, 6, 6), *maps(2, 4, 2, 2, number=1)]
    assert forward_and_backward(launches, lambda *maps: calibrate(*maps, *norms, True), *inputs) == expected


@pytest.mark.parametrize(
    ('net', 'expected'),
    [
        (dict(), (9, 9)),
        (dict(attention=dict(type='SE')), (11, 12)),
        (dict(attention=dict(type='CMPESE', view='double_fc')), (12, 12)),
        (dict(attention=dict(type='CMPESE', view='pair_1x1')), (14, 15)),
        (dict(attention=dict(type='InnerImaging')), (14, 15)),
        (dict(type='SCNet'), (17, 19)),
        (dict(type='SCNet', attention=dict(type='SE')), (19, 22)),
    ],
)
@pytest.mark.parametrize('projected', [False, True])
def test_launches_of_a_bottleneck(launches, net, expected, projected):
    options = {'type': 'ResNet', 'depth': 50, 'base_channels': 4, 'out_indices': (0,), 'fused': True, **net}
    blocks = getattr(backbones, options.pop('type'))(**options).train().layer1
    block, channels = (blocks[0], 4) if projected else (blocks[1], 16)
    forward, backward = forward_and_backward(launches, block, *maps(2, channels, 6, 6, number=1))
    second_stream = 'attention' in net and net['attention']['type'] != 'SE'
    assert (forward - (projected and not second_stream), backward) == expected


@pytest.mark.parametrize('kind', [None, 'SE', 'DoubleFC'])
def test_only_y_and_the_output_are_kept(kind):
    ending, _ = set_up(Ending(6, gate_of(kind, 6)), 'batch')
    y, x = maps(2, 6, 8, 8)
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        out = ending(y, x)
    big = {pointer for pointer, tensor in kept.items() if tensor.numel() == y.numel()}
    assert big == {y.data_ptr(), out.data_ptr()}


@pytest.mark.parametrize('recompute', [False, True])
def test_a_stem_keeps_its_input_and_a_byte_a_window(recompute):
    norm, _ = set_up(nn.BatchNorm2d(6), 'batch')
    (y,) = maps(2, 6, 8, 8, number=1)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = stem(y, norm, nn.ReLU(), nn.MaxPool2d(3, 2, 1), True, recompute)
    sizes = [(t.dtype, t.numel()) for t in kept if t.dim() == 4]
    assert sizes == [(torch.float32, y.numel())] + [(torch.int8, out.numel())] * (not recompute)
