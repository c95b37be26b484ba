"""The configs of Inception-v3 train by its paper's recipe, and its ladder adds one thing a step."""

from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from inimg_mm.launch import load_config
from inimg_mm.registry import build_model

pytest.importorskip('mmpretrain', reason='the configs are of mmpretrain (extra mm)')

IMAGENET = Path(__file__).resolve().parents[2] / 'configs' / 'imagenet'
SMOOTHED, PLAIN = 'LabelSmoothLoss', 'CrossEntropyLoss'
PAPERS = 'timm.optim.RMSpropTF'
LADDER = {  # table 3: stem, whether the auxiliary 5x5 has a norm, loss, optimizer
    'inception-v2': ('7x7', False, PLAIN, 'SGD'),
    'inception-v2-rmsprop': ('7x7', False, PLAIN, PAPERS),
    'inception-v2-rmsprop-ls': ('7x7', False, SMOOTHED, PAPERS),
    'inception-v2-rmsprop-ls-3x3': ('3x3', False, SMOOTHED, PAPERS),
    'inception-v3': ('3x3', True, SMOOTHED, PAPERS),
}


@cache
def load(name):
    return load_config(IMAGENET / f'{name}_8xb32_in1k.py')


def test_the_ladder_adds_one_thing_a_step():
    found = {}
    for name in LADDER:
        cfg = load(name)
        backbone, head = cfg.model.backbone, cfg.model.head
        optimizer = cfg.optim_wrapper.optimizer.type
        found[name] = (backbone.get('stem', '3x3'), head.get('fc_norm', True), head.loss.type, optimizer)
    assert found == LADDER
    steps = list(LADDER.values())
    for before, after in zip(steps, steps[1:], strict=False):
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


@pytest.mark.parametrize('name', ['inception-v2', 'inception-v3', 'se-inception-v3'])
def test_models(name):
    cfg = load(name)
    with torch.device('meta'):
        model = build_model(cfg)
    assert (model.backbone.padding, model.backbone.out_channels) == ('valid', (768, 2048))
    assert hasattr(model.backbone.Mixed_7c, 'se_layer') == name.startswith('se-')
    assert (model.head.num_classes, model.head.aux_weight) == (1000, 0.4)
    assert getattr(model.head.loss_module, 'label_smooth_val', 0) == (0 if name == 'inception-v2' else 0.1)
    assert not model.with_neck


@pytest.mark.parametrize('name', [*LADDER, 'se-inception-v3'])
def test_schedule_and_pixels(name):
    cfg = load(name)
    assert cfg.train_dataloader.batch_size == 32
    assert cfg.auto_scale_lr.base_batch_size == 256
    assert cfg.train_cfg.max_epochs == 100
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.045, 0.9, 4e-5)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=2.0)
    (average,) = cfg.custom_hooks
    assert (average.type, average.momentum) == ('EMAHook', 1e-4)
    for loader, option in (('train', 'scale'), ('val', 'crop_size'), ('test', 'crop_size')):
        pipeline = cfg[f'{loader}_dataloader'].dataset.pipeline
        assert 299 in [transform.get(option) for transform in pipeline]
    pixels = cfg.data_preprocessor
    assert list(pixels.mean) == list(pixels.std) == [127.5] * 3
    assert pixels.to_rgb


def test_the_rate_falls_every_two_epochs():
    from mmengine.registry import PARAM_SCHEDULERS

    cfg = load('inception-v3')
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.045)
    scheduler = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler, optimizer=optimizer))
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.045 * 0.94 ** (epoch // 2) for epoch in range(6)])


def steps(gradients, **changes):
    """How far each step moves one weight, without weight decay and clipping."""
    net = nn.Linear(1, 1, bias=False)
    settings = dict(load('inception-v3').optim_wrapper, clip_grad=None)
    settings['optimizer'] = dict(settings['optimizer'], weight_decay=0, **changes)
    optimizer, moved = build_optim_wrapper(net, settings).optimizer, []
    for gradient in gradients:
        before = net.weight.item()
        net.weight.grad = torch.full_like(net.weight, gradient)
        optimizer.step()
        moved.append(before - net.weight.item())
    return moved


def test_rmsprop_is_tensorflows_and_torchs_differs_as_said():
    pytest.importorskip('timm', reason="the paper's RMSProp is timm's (extra bench)")
    gradients, square, momentum, expected = [0.5, -1.0, 2.0, 0.1], 1.0, 0.0, []
    for gradient in gradients:  # decay 0.9, epsilon 1 inside the root, the mean square from one
        square = 0.9 * square + 0.1 * gradient**2
        momentum = 0.9 * momentum + 0.045 * gradient / (square + 1) ** 0.5
        expected.append(momentum)
    assert steps(gradients) == pytest.approx(expected, rel=1e-4)

    small, unit = [0.001], [1.0] * 200
    assert steps(small, type='RMSprop')[0] / steps(small)[0] == pytest.approx(1.38, abs=0.01)
    long = {kind: steps(unit, type=kind, momentum=0)[-1] for kind in ('RMSprop', PAPERS)}
    assert long['RMSprop'] / long[PAPERS] == pytest.approx(0.71, abs=0.01)
