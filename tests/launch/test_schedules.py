"""A schedule of another length than the training, or a checkpoint's in place of the config's, is said."""

import pytest
import torch
from mmengine.config import Config

from helpers.small_training import classifier
from inimg_mm.checkpoints.reading import Opened
from inimg_mm.launch import runs
from inimg_mm.launch.schedules import restored_settings, schedule_faults

WARM_UP = dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)
STEPS = dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)
COSINE = dict(type='CosineAnnealingLR', T_max=95, by_epoch=True, begin=5, end=100)
POLY = dict(type='PolyLR', power=0.9, begin=0, end=20000, by_epoch=False)
EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=12)


@pytest.mark.parametrize(
    ('training', 'schedule', 'epoch_length'),
    [
        (EPOCHS, [WARM_UP, STEPS], 100),
        (EPOCHS, [WARM_UP, STEPS], None),
        (EPOCHS, [], 100),
        (EPOCHS, None, 100),
        (dict(by_epoch=True, max_epochs=100), [dict(WARM_UP, by_epoch=True, end=5), COSINE], 100),
        (dict(type='IterBasedTrainLoop', max_iters=20000), [POLY], 7),
        (EPOCHS, dict(type='ExponentialLR', gamma=0.9), 7),
        (None, [STEPS], 7),
        (dict(max_epochs=100), dict(type='MultiStepLR', milestones=[30, 60, 90], by_epoch=True), 7),
    ],
)
def test_what_fits(training, schedule, epoch_length):
    assert schedule_faults(training, schedule, epoch_length) == []


@pytest.mark.parametrize(
    ('training', 'schedule', 'words'),
    [
        (
            dict(max_epochs=2),
            [WARM_UP, STEPS],
            [
                'the rate is still rising at the end: it does until 5 epochs (LinearLR), '
                'and the training ends at 2',
                'the schedule ends at 12 epochs (MultiStepLR), the training at 2',
            ],
        ),
        (dict(max_epochs=5), [STEPS], ['the schedule ends at 12 epochs (MultiStepLR), the training at 5']),
        (
            dict(max_epochs=60),
            [COSINE],
            ['the schedule ends at 100 epochs (CosineAnnealingLR), the training at 60'],
        ),
        (
            dict(max_epochs=24),
            [STEPS],
            [
                'the schedule ends at 12 epochs (MultiStepLR), the training at 24: after it the rate '
                'stays as it is'
            ],
        ),
        (
            dict(type='IterBasedTrainLoop', max_iters=300),
            [dict(STEPS, end=5, milestones=[3])],
            ['the schedule ends at 500 iterations (MultiStepLR), the training at 300'],
        ),
        (
            dict(max_epochs=60),
            [dict(type='MultiStepLR', milestones=[30, 60, 90], by_epoch=True)],
            ['the schedule ends at 90 epochs (MultiStepLR), the training at 60'],
        ),
    ],
)
def test_what_is_said(training, schedule, words):
    assert schedule_faults(training, schedule, 100) == words


def settings(lr, end):
    return Config(
        dict(
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr, momentum=0.9)),
            param_scheduler=[dict(type='CosineAnnealingLR', T_max=end, end=end)],
            train_cfg=dict(max_epochs=end),
        )
    )


def test_what_a_resumed_training_keeps():
    checkpoint = Opened('epoch_2.pth', dict(meta=dict(cfg=settings(0.1, 2).pretty_text)))
    assert restored_settings(settings(0.1, 2), checkpoint) == []
    assert list(map(str, restored_settings(settings(0.01, 4), checkpoint))) == [
        'optim_wrapper.optimizer.lr is 0.01 here and 0.1 there',
        'param_scheduler.0.T_max is 4 here and 2 there',
        'param_scheduler.0.end is 4 here and 2 there',
    ]
    assert restored_settings(settings(0.01, 4), Opened('plain.pth', {})) == []


def test_a_resumed_training_says_so(folder, tmp_path, monkeypatch):
    """mmengine goes on with the old rate: what is said is what happens."""
    pytest.importorskip('mmpretrain')
    monkeypatch.chdir(folder)
    schedule = dict(type='CosineAnnealingLR', T_max=1, end=1, by_epoch=True)
    runs.train(classifier(tmp_path, param_scheduler=[schedule]))
    cfg = classifier(
        tmp_path,
        param_scheduler=[dict(schedule, T_max=2, end=2)],
        **{'optim_wrapper.optimizer.lr': 0.5, 'train_cfg.max_epochs': 2},
    )
    runs.train(cfg, resume='auto')
    said = max(tmp_path.glob('*/*.log')).read_text()
    after_the_config = said[said.index('work_dir = ') :]
    assert 'epoch_1.pth keeps its learning rate and schedule: ' in after_the_config
    assert 'optim_wrapper.optimizer.lr is 0.5 here' in after_the_config
    assert (
        'WARNING - the schedule ends at 1 epochs (CosineAnnealingLR), the training at 2: after it the rate '
        'stays as it is\n'
    ) in after_the_config
    rates = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)['optimizer']['param_groups'][0]['lr']
    assert rates < 0.01  # the old ones


@pytest.mark.parametrize('loader', [dict(num_workers=0, persistent_workers=True, prefetch_factor=2)])
def test_no_workers_do_not_persist(loader):
    cfg = Config(dict(default_scope='mmdet', train_dataloader=loader))
    runs.fill_in_loaders(cfg)
    assert not cfg.train_dataloader.persistent_workers
    assert 'prefetch_factor' not in cfg.train_dataloader
    kept = Config(dict(default_scope='mmdet', train_dataloader=dict(num_workers=2, persistent_workers=True)))
    runs.fill_in_loaders(kept)
    assert kept.train_dataloader.persistent_workers
