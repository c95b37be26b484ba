"""Trainings of a second on a toy model, which are stopped at any moment; what the tests of resuming share."""

import os
import random
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Sampler

LOADED = []
"""Indices of the samples that were made in this process."""

END = dict(epochs='epoch_3.pth', iterations='iter_12.pth', mixed='iter_12.pth')
"""Last checkpoints of runs: epochs with a checkpoint each, iterations, epochs with checkpoints between."""


CHECKPOINT_OPTIONS = ('by_epoch', 'max_keep_ckpts', 'save_best', 'rule', 'out_dir', 'filename_tmpl')
"""Settings of the checkpoint hook, for :func:`safe`."""


class Interrupted(Exception):
    """In place of a kill."""


@DATASETS.register_module()
class Noisy(BaseDataset):
    """Samples that are a number each, with noise from all three generators."""

    def load_data_list(self):
        return [dict(number=float(number)) for number in range(11)]

    def prepare_data(self, index):
        LOADED.append(index)
        number = self.get_data_info(index)['number']
        if self.test_mode:
            return dict(inputs=torch.tensor([number, 0.5, number, 1.0]))
        noise = random.random() + np.random.rand() + torch.rand(()).item()
        return dict(inputs=torch.tensor([number, noise, number * noise, 1.0]))


@MODELS.register_module()
class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))

    def init_weights(self):
        generator = torch.Generator().manual_seed(7)
        for parameter in self.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + 0.1)

    def forward(self, inputs, mode='tensor'):
        x = torch.stack(inputs) / 10
        if mode == 'loss':
            return dict(loss=((self.net(x) - x.sum(1, keepdim=True) + torch.rand(())) ** 2).mean())
        return [self.net(x)]


@HOOKS.register_module()
class Stop(Hook):
    """Raise in the middle of an iteration, after it, in the validation after it, or when it is saved."""

    def __init__(self, iteration, moment):
        self.iteration, self.moment = iteration, moment

    def _raise(self, moment, iteration):
        if (moment, iteration) == (self.moment, self.iteration):
            raise Interrupted

    def before_train_iter(self, runner, **_):
        self._raise('begin', runner.iter + 1)

    def after_train_iter(self, runner, **_):
        self._raise('end', runner.iter + 1)

    def after_val_iter(self, runner, **_):
        self._raise('validation', runner.iter)

    def before_save_checkpoint(self, runner, checkpoint):
        self._raise('saving', checkpoint['meta']['iter'])


@HOOKS.register_module()
class Watch(Hook):
    """Note the numbers of batches."""

    seen: list

    def before_train_iter(self, runner, batch_idx, **_):
        self.seen.append(batch_idx)


@DATA_SAMPLERS.register_module()
class Global(Sampler):
    """One that asks the global generators, as some of the hosts' do."""

    def __init__(self, dataset, shuffle=True, seed=None):
        self.dataset = dataset

    def __iter__(self):
        for _ in range(len(self.dataset)):
            yield (np.random.randint(5) + random.randrange(3) + int(torch.randint(3, ()))) % len(self.dataset)

    def __len__(self):
        return len(self.dataset)


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield from range(8)

    def __len__(self):
        return 8


@METRICS.register_module()
class Error(BaseMetric):
    default_prefix = None

    def process(self, data_batch, data_samples):
        self.results += [sample.abs().mean().item() for sample in data_samples]

    def compute_metrics(self, results):
        return dict(error=sum(results) / len(results))


def config(work_dir, loop='epochs', workers=0, sampler='DefaultSampler', exact=True, **options):
    loader = dict(
        batch_size=3,
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=dict(type=sampler, shuffle=True),
        dataset=dict(type='Noisy'),
    )
    by_iteration = loop == 'iterations'
    cfg = Config(
        dict(
            model=dict(type='Toy'),
            work_dir=str(work_dir),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=False, max_iters=12)
            if by_iteration
            else dict(by_epoch=True, max_epochs=3),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01)),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
                dict(type='MultiStepLR', by_epoch=not by_iteration, milestones=[1, 2]),
            ],
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', by_epoch=loop == 'epochs', interval=1),
                logger=dict(type='LoggerHook', interval=1),
            ),
            custom_hooks=[dict(type='inimg_mm.ExactResumeHook')] if exact else [],
            randomness=dict(seed=3),
            log_level='ERROR',
            launcher='none',
            env_cfg=dict(dist_cfg=dict(backend='gloo')),
        )
    )
    cfg.merge_from_dict(options)
    return cfg


def safe(work_dir, **options):
    checkpoint = {key: options.pop(key) for key in CHECKPOINT_OPTIONS if key in options}
    cfg = config(work_dir, **options)
    cfg.default_hooks.checkpoint = dict(type='inimg_mm.SafeCheckpointHook', interval=1, **checkpoint)
    return cfg


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix in ('.pth', '.part'))


def validated(cfg, **checkpoint):
    cfg.val_dataloader = dict(
        batch_size=4,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='Noisy', test_mode=True),
    )
    cfg.val_cfg, cfg.val_evaluator = dict(), dict(type='Error')
    cfg.default_hooks.checkpoint.update(checkpoint)
    return cfg


def train(cfg, resume=False, stop=None, moment='end', runner=Runner):
    cfg = Config(cfg.to_dict())
    cfg.resume = resume
    cfg.experiment_name = f'run{random.SystemRandom().getrandbits(60)}'
    for log in Path(cfg.work_dir).glob('*/*.log'):
        # mmengine names it by the second, so a quick run after this one would add to it
        log.unlink(missing_ok=True)  # the other of two processes may have been quicker
    if stop is not None:
        cfg.custom_hooks = [
            *(cfg.get('custom_hooks') or []),
            dict(type='Stop', iteration=stop, moment=moment),
        ]
    runner = runner.from_cfg(cfg)
    try:
        with nullcontext() if stop is None else pytest.raises(Interrupted):
            runner.train()
    finally:
        if getattr(runner.train_dataloader, '_iterator', None):
            runner.train_dataloader._iterator._shutdown_workers()  # collected as garbage they take seconds
    return runner


def interrupted(cfg, stops, resume=False, **options):
    """Train with stops, each an iteration and a moment, or an iteration."""
    for stop in stops:
        iteration, moment = stop if isinstance(stop, tuple) else (stop, 'end')
        train(cfg, resume, iteration, moment, **options)
        resume = True
    return train(cfg, resume=True, **options)


def state(work_dir, name):
    return torch.load(work_dir / name, weights_only=False)


def read_all(dataset, workers):
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=2, num_workers=workers, collate_fn=pseudo_collate, shuffle=False
    )
    batches = iter(loader)
    try:
        return list(batches)
    finally:
        if workers:
            batches._shutdown_workers()  # collected as garbage they take seconds


def messages(work_dir):
    """What the run that came last logged."""
    (log,) = work_dir.glob('*/*.log')
    return log.read_text().splitlines()


def assert_same(a, b):
    """Compare all of two checkpoints that a training goes on from, but times and file names."""
    for key in ('state_dict', 'optimizer', 'param_schedulers', 'ema_state_dict'):
        assert_equal(a.get(key), b.get(key), key)
    assert [a['meta'][key] for key in ('epoch', 'iter', 'seed')] == [
        b['meta'][key] for key in ('epoch', 'iter', 'seed')
    ]


def assert_equal(a, b, where):
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for number, pair in enumerate(zip(a, b, strict=True)):
            assert_equal(*pair, f'{where}.{number}')
    else:
        assert a == b, where


def differs(a, b):
    return any(not torch.equal(a['state_dict'][key], b['state_dict'][key]) for key in a['state_dict'])


def train_as_rank(rank, port, cfg, stop, resume):
    """Train as one of two processes, in a process of its own."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port)
    )
    torch.distributed.init_process_group('gloo')
    train(Config(cfg), resume, stop)
    torch.distributed.destroy_process_group()
