"""The configs of CIFAR and SVHN train by the recipes that their comments name."""

import re

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from helpers.tooling import ROOT
from inimg_mm.checking.config import check_config
from inimg_mm.launch import load_config

pytest.importorskip('mmpretrain', reason='the configs are of mmpretrain (extra mm)')

PATHS = sorted(path for task in ('cifar', 'svhn') for path in (ROOT / 'configs' / task).glob('*.py'))
STEPS = 391
"""Of an epoch of 50,000 images, 128 at a time."""
WEIGHT_DECAY = {'preact': 1e-4, 'pyramid': 1e-4, 'wrn': 5e-4}


def family_of(path):
    return re.search('preact|pyramid|wrn', path.name)[0]


def rates_of(cfg, steps):
    """The learning rate at the start of each of these (epoch, step)."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    settings = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
    schedulers = [PARAM_SCHEDULERS.build(dict(each, optimizer=optimizer)) for each in settings]
    found = {}
    for epoch in range(max(epoch for epoch, _ in steps) + 1):
        for step in range(STEPS if epoch < 2 else 1):
            found[epoch, step] = optimizer.param_groups[0]['lr']
            optimizer.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    return [found[step] for step in steps]


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_data_and_optimizer(path):
    cfg = load_config(path)
    data = re.search(r'_1xb128_(\w+)$', path.stem)[1]
    classes = 100 if data == 'cifar100' else 10
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 128
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == classes
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.type == dict(svhn='inimg_mm.SVHN').get(data, data.upper())
    transforms = [transform.type for transform in cfg.train_dataloader.dataset.pipeline]
    assert transforms == (['PackInputs'] if data == 'svhn' else ['RandomCrop', 'RandomFlip', 'PackInputs'])
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.type == 'SGD'
    assert optimizer.momentum == 0.9
    assert optimizer.weight_decay == WEIGHT_DECAY[family_of(path)]
    assert optimizer.get('nesterov', False) == (family_of(path) != 'preact')
    assert cfg.model.backbone.get('dropout', 0) == (0.4 if data == 'svhn' else 0)
    assert 'wrn' not in path.name or cfg.model.backbone.get('input_norm', False) == ('se-' in path.name)


RECIPES = {
    'preact-r164_1xb128_cifar10': (
        164,
        {
            (0, 0): 0.01,
            (1, 8): 0.01,
            (1, 9): 0.1,
            (81, 0): 0.1,
            (82, 0): 0.01,
            (123, 0): 1e-3,
        },
    ),
    'wrn28-10_1xb128_cifar100': (
        200,
        {(0, 0): 0.1, (59, 0): 0.1, (60, 0): 0.02, (120, 0): 4e-3, (160, 0): 8e-4, (199, 0): 8e-4},
    ),
    'pyramid110-a270_1xb128_cifar10': (300, {(0, 0): 0.1, (149, 0): 0.1, (150, 0): 0.01, (225, 0): 1e-3}),
    'pyramid110-a270_1xb128_cifar100': (300, {(0, 0): 0.5, (150, 0): 0.05, (225, 0): 5e-3}),
    'wrn16-8_1xb128_svhn': (160, {(0, 0): 0.01, (79, 0): 0.01, (80, 0): 1e-3, (120, 0): 1e-4}),
}


@pytest.mark.parametrize('name', RECIPES)
def test_schedules(name):
    epochs, rates = RECIPES[name]
    cfg = load_config(next(path for path in PATHS if path.stem == name))
    assert cfg.train_cfg.max_epochs == epochs
    assert rates_of(cfg, list(rates)) == pytest.approx(list(rates.values()))


def test_svhn_is_divided_by_255_and_has_the_extra_images():
    cfg = load_config(next(path for path in PATHS if path.stem == 'wrn16-8_1xb128_svhn'))
    assert (cfg.data_preprocessor.mean, cfg.data_preprocessor.std) == ([0] * 3, [255] * 3)
    splits = [cfg[f'{loader}_dataloader'].dataset.split for loader in ('train', 'val', 'test')]
    assert splits == ['train+extra', 'test', 'test']


def test_mixup_is_two_options():
    readme = (ROOT / 'configs' / 'cifar' / 'README.md').read_text()
    options = dict(re.findall(r'(model\.train_cfg\.augments\.\w+)=(\S+)', readme))
    options['model.train_cfg.augments.alpha'] = float(options['model.train_cfg.augments.alpha'])
    plain = next(path for path in PATHS if path.stem == 'cmpese-wrn28-10-1x1_1xb128_cifar10')
    mixed = load_config(plain.with_name('cmpese-wrn28-10-1x1-mixup_1xb128_cifar10.py'))
    cfg = load_config(plain, options)
    assert cfg.model == mixed.model
    narrow = {'model.backbone.widen_factor': 1, 'model.backbone.depth': 10, 'model.head.in_channels': 64}
    cfg.merge_from_dict(narrow)
    findings = check_config(cfg, init=False, size=(32, 32))
    assert [finding for finding in findings if finding.fault] == []
