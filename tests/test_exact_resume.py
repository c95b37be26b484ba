"""A training that is interrupted and resumed ends with the weights of the uninterrupted one."""

import pickle
import random
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import FlexibleRunner, Runner
from tooling import CONFIGS
from torch import nn
from torch.utils.data import Sampler

from inimg_mm.engine import UsageError, load_config
from inimg_mm.engine.hooks import positions
from inimg_mm.engine.safekeeping import resume_exactly

LOADED = []
"""Indices of the samples that were made in this process."""

END = dict(epochs='epoch_3.pth', iterations='iter_12.pth', mixed='iter_12.pth')
"""Last checkpoints of runs: epochs with a checkpoint each, iterations, epochs with checkpoints between."""


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
    if stop is not None:
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='Stop', iteration=stop, moment=moment)]
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


def messages(work_dir):
    """What the run that came last logged."""
    log = max(work_dir.glob('*/*.log'), key=lambda path: path.stat().st_mtime)
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


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    """Leave out what takes a runner most of its time here: tidying its config, and looking at the machine."""
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: ''))
    for runner in (Runner, FlexibleRunner):
        monkeypatch.setattr(runner, '_log_env', lambda *args: None)
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc.collect', lambda: None)
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)


# ---- any interruption -----------------------------------------------------------------------------------


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('loop', END)
def test_bit_equal_after_interruptions(tmp_path, loop, workers):
    """At random iterations and moments, with workers that were ahead of them."""
    draw = random.Random(f'{loop}{workers}')
    options = dict(loop=loop, workers=workers)
    train(config(tmp_path / 'a', **options))
    stops = [
        (iteration, draw.choice(('begin', 'end', 'saving')))
        for iteration in sorted(draw.sample(range(2, 13), 3))
    ]
    runner = interrupted(config(tmp_path / 'b', **options), stops)
    assert runner.iter == 12
    assert_same(state(tmp_path / 'a', END[loop]), state(tmp_path / 'b', END[loop]))


@pytest.mark.parametrize('loop', END)
def test_a_flexible_runner(tmp_path, loop):
    train(config(tmp_path / 'a', loop), runner=FlexibleRunner)
    interrupted(config(tmp_path / 'b', loop), [(6, 'end'), (10, 'begin')], runner=FlexibleRunner)
    assert_same(state(tmp_path / 'a', END[loop]), state(tmp_path / 'b', END[loop]))


@pytest.mark.parametrize('loop', END)
def test_without_the_hook_it_differs(tmp_path, loop):
    train(config(tmp_path / 'a', loop, exact=False))
    interrupted(config(tmp_path / 'b', loop, exact=False), [7])
    newest = (tmp_path / 'b' / 'last_checkpoint').read_text()
    assert differs(state(tmp_path / 'a', END[loop]), state(tmp_path / 'b', newest))


def test_every_iteration_of_an_epoch(tmp_path):
    """Also the last, after which the epoch's schedulers and hooks are to do."""
    train(config(tmp_path / 'a', 'mixed'))
    for iteration in range(4, 10):
        interrupted(config(tmp_path / str(iteration), 'mixed'), [(iteration, 'end')])
        assert_same(state(tmp_path / 'a', 'iter_12.pth'), state(tmp_path / str(iteration), 'iter_12.pth'))


@pytest.mark.parametrize('loop', ['iterations', 'epochs'])
def test_no_seed_in_the_config(tmp_path, loop):
    """The checkpoint's seed orders the data too, which mmengine forgets."""
    cfg = config(tmp_path / 'a', loop, randomness=dict(seed=None))
    train(cfg, stop=6)
    cfg_b = config(tmp_path / 'b', loop, randomness=dict(seed=None))
    (tmp_path / 'b').mkdir()
    for path in (tmp_path / 'a').glob('*.pth'):
        shutil.copy(path, tmp_path / 'b')
    last = (tmp_path / 'a' / 'last_checkpoint').read_text()
    (tmp_path / 'b' / 'last_checkpoint').write_text(last)
    train(cfg, resume=True)
    interrupted(cfg_b, [9], resume=True)
    assert_same(state(tmp_path / 'a', END[loop]), state(tmp_path / 'b', END[loop]))


@pytest.mark.parametrize(
    'sampler', ['InfiniteSampler', 'Global'], ids=['without end', 'drawing from the global generators']
)
@pytest.mark.parametrize('workers', [0, 1])
def test_samplers(tmp_path, sampler, workers):
    options = dict(loop='iterations', sampler=sampler, workers=workers)
    train(config(tmp_path / 'a', **options))
    interrupted(config(tmp_path / 'b', **options), [3, 8])
    assert_same(state(tmp_path / 'a', END['iterations']), state(tmp_path / 'b', END['iterations']))


def test_a_samplers_own_seed_is_kept(tmp_path):
    runner = train(config(tmp_path, **{'train_dataloader.sampler.seed': 99}))
    assert runner.train_dataloader.sampler.seed == 99
    assert train(config(tmp_path)).train_dataloader.sampler.seed == 3


# ---- what else a checkpoint forgets ---------------------------------------------------------------------


@pytest.mark.parametrize(
    'options', [dict(begin_iter=5), dict(begin_epoch=2), dict(update_buffers=True)], ids=str
)
def test_averaged_weights(tmp_path, options):
    def averaged(folder):
        cfg = config(tmp_path / folder)
        cfg.custom_hooks = [dict(type='EMAHook', momentum=0.1, **options), *cfg.custom_hooks]
        return cfg

    train(averaged('a'))
    interrupted(averaged('b'), [5, 10])
    a, b = (state(tmp_path / folder, 'epoch_3.pth') for folder in 'ab')
    assert a['ema_state_dict']['steps'] > 0
    assert_same(a, b)


@pytest.mark.parametrize('loop', END)
def test_gradients_of_an_unfinished_accumulation(tmp_path, loop):
    """An epoch of four iterations, and a step every three."""
    options = {'optim_wrapper.accumulative_counts': 3}
    train(config(tmp_path / 'a', loop, **options))
    interrupted(config(tmp_path / 'b', loop, **options), [5, 9])
    assert_same(state(tmp_path / 'a', END[loop]), state(tmp_path / 'b', END[loop]))


@pytest.mark.parametrize('loop', END)
def test_validations_that_others_depend_on(tmp_path, loop):
    """A run that is stopped in a validation does it again, for the best checkpoint and the schedulers."""

    def careful(folder):
        cfg = validated(config(tmp_path / folder, loop), save_best='error', rule='less')
        by_epoch = loop != 'iterations'
        cfg.train_cfg.val_interval = 1 if by_epoch else 4
        if by_epoch:
            plateau = dict(type='ReduceOnPlateauLR', monitor='error', factor=0.3, patience=0, rule='greater')
            cfg.param_scheduler = [*cfg.param_scheduler, plateau]
        return cfg

    train(careful('a'))
    runner = interrupted(careful('b'), [(4, 'validation'), (6, 'end'), (8, 'validation'), (12, 'validation')])
    assert_same(state(tmp_path / 'a', END[loop]), state(tmp_path / 'b', END[loop]))
    best = [sorted(path.name for path in (tmp_path / folder).glob('best*')) for folder in 'ab']
    assert best[0] == best[1] != []
    assert runner.message_hub.get_info('best_ckpt').endswith(best[0][0])


def test_early_stopping_counts_on(tmp_path):
    def stopping(folder):
        cfg = validated(config(tmp_path / folder, **{'train_cfg.max_epochs': 9}))
        stop = dict(type='EarlyStoppingHook', monitor='error', rule='less', min_delta=100.0, patience=3)
        cfg.custom_hooks = [*cfg.custom_hooks, stop]
        return cfg

    whole = train(stopping('a'))
    assert whole.epoch == 4
    resumed = interrupted(stopping('b'), [(4, 'validation'), 6, (8, 'validation'), 11])
    assert resumed.epoch == 4
    assert_same(state(tmp_path / 'a', 'epoch_4.pth'), state(tmp_path / 'b', 'epoch_4.pth'))


def test_a_last_validation_is_done(tmp_path, caplog):
    cfg = validated(config(tmp_path))
    train(cfg, stop=12, moment='validation')
    runner = train(cfg, resume=True)
    assert runner.message_hub.get_scalar('val/error').statistics  # it was there


def test_a_validation_that_nothing_depends_on_is_not_repeated(tmp_path):
    cfg = validated(config(tmp_path))
    train(cfg, stop=6)
    LOADED.clear()
    train(cfg, resume=True)
    assert len(LOADED) == 2 * (11 + 11)  # two epochs, and a validation after each


# ---- positions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('sampler', ['DefaultSampler', 'InfiniteSampler'])
def test_nothing_is_loaded_to_be_skipped(tmp_path, sampler):
    cfg = config(tmp_path, 'iterations', sampler=sampler)
    train(cfg, stop=10)
    LOADED.clear()
    train(cfg, resume=True)
    assert len(LOADED) <= 3 * 3


def test_numbers_of_batches_go_on_in_the_middle_of_an_epoch(tmp_path):
    cfg = config(tmp_path, 'mixed')
    train(cfg, stop=7)
    seen = []
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='Watch')]
    Watch.seen = seen
    train(cfg, resume=True)
    assert seen == [2, 3, 0, 1, 2, 3]


def test_another_batch_size_begins_the_epoch_anew(tmp_path, caplog):
    cfg = config(tmp_path, 'mixed', log_level='WARNING')
    train(cfg, stop=7)
    cfg.train_dataloader.batch_size = 4
    with caplog.at_level('WARNING'):
        train(cfg, resume=True)
    assert any(
        'begins anew' in message and 'iteration 6 in epoch 2' in message for message in messages(tmp_path)
    )


def test_a_stream_of_data_is_refused(tmp_path):
    cfg = config(tmp_path)
    cfg.train_dataloader = torch.utils.data.DataLoader(Stream(), batch_size=2)
    with pytest.raises(UsageError, match='Stream gives a stream'):
        train(cfg)


def test_a_seeded_dataset_is_its_dataset_in_all_else():
    dataset = positions.SeededDataset(Noisy(), seed=1, rank=0)
    assert len(dataset) == 11
    dataset.pipeline = 'switched'
    assert dataset._seeded.pipeline == dataset.pipeline == 'switched'
    assert not hasattr(dataset, '__getitems__')
    copy = pickle.loads(pickle.dumps(dataset))  # as for workers that are spawned
    draw = positions.Draw(index=4, iteration=7, place=2)
    assert torch.equal(dataset[draw]['inputs'], copy[draw]['inputs'])
    others = [draw._replace(index=4, **change) for change in (dict(iteration=8), dict(place=3))]
    assert not any(torch.equal(dataset[draw]['inputs'], copy[other]['inputs']) for other in others)
    other_rank = positions.SeededDataset(Noisy(), seed=1, rank=1)
    assert not torch.equal(dataset[draw]['inputs'], other_rank[draw]['inputs'])


def test_a_pass_leaves_the_generators_alone():
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand(), torch.rand(3)
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    batches = positions.PositionedBatches(torch.utils.data.BatchSampler(Global(range(9)), 2, False), seed=0)
    assert len(list(batches)) == len(batches) == 5
    found = random.random(), np.random.rand(), torch.rand(3)
    assert found[:2] == expected[:2]
    assert torch.equal(found[2], expected[2])


# ---- the hosts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'host'),
    [
        ('se-r18_digits', 'mmpretrain'),
        ('td-hm_se-r18_digits-96x96', 'mmpose'),
        pytest.param('mask-rcnn_ini-r18_fpn_digits', 'mmdet', marks=pytest.mark.slow),
    ],
)
def test_demo_configs(folder, monkeypatch, tmp_path, name, host):
    """The hosts' data sets, pipelines and samplers, in a worker that persists."""
    pytest.importorskip(host, reason=f'the config needs {host}')
    monkeypatch.chdir(folder)

    def demo(work_dir, exact=True):
        options = {
            'train_dataloader.batch_size': 5,
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 9,
            'val_cfg': None,
            'val_dataloader': None,
            'val_evaluator': None,
            'default_hooks.checkpoint.by_epoch': False,
            'default_hooks.checkpoint.interval': 1,
            'default_hooks.checkpoint.max_keep_ckpts': 2,
            'randomness.deterministic': True,
            'log_level': 'ERROR',
        }
        cfg = load_config(CONFIGS[name], options, work_dir)
        cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
        for transform in cfg.train_dataloader.dataset.pipeline:
            if 'Flip' in transform['type']:
                transform['prob'] = 0.5
        if exact:
            resume_exactly(cfg)
        return cfg

    whole = train(demo(tmp_path / 'a'))
    stops = [whole.iter // 2 - 1, (whole.iter // 2 + 1, 'begin')]
    assert interrupted(demo(tmp_path / 'b'), stops).iter == whole.iter
    last = f'iter_{whole.iter}.pth'
    assert_same(state(tmp_path / 'a', last), state(tmp_path / 'b', last))
    interrupted(demo(tmp_path / 'c', exact=False), stops)
    newest = (tmp_path / 'c' / 'last_checkpoint').read_text()
    assert differs(state(tmp_path / 'a', last), state(tmp_path / 'c', newest))


@pytest.fixture(autouse=True)
def _not_deterministic_afterwards():
    yield
    torch.use_deterministic_algorithms(False)
