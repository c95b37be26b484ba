"""A training that is interrupted and resumed ends with the weights of the uninterrupted one."""

import pickle
import random
import shutil

import numpy as np
import pytest
import torch
from mmengine.runner import FlexibleRunner

from helpers.toy_training import (
    END,
    LOADED,
    Global,
    Noisy,
    Stream,
    Watch,
    assert_same,
    config,
    differs,
    interrupted,
    messages,
    state,
    train,
    validated,
)
from inimg_mm.engine.hooks.exact_resume import order
from inimg_mm.errors import UsageError

pytestmark = pytest.mark.usefixtures('quickly')

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
@pytest.mark.usefixtures('on_cpu')
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
    dataset = order.SeededDataset(Noisy(), seed=1, rank=0)
    assert len(dataset) == 11
    dataset.pipeline = 'switched'
    assert dataset._seeded.pipeline == dataset.pipeline == 'switched'
    assert not hasattr(dataset, '__getitems__')
    copy = pickle.loads(pickle.dumps(dataset))  # as for workers that are spawned
    draw = order.Draw(index=4, iteration=7, place=2)
    assert torch.equal(dataset[draw]['inputs'], copy[draw]['inputs'])
    others = [draw._replace(index=4, **change) for change in (dict(iteration=8), dict(place=3))]
    assert not any(torch.equal(dataset[draw]['inputs'], copy[other]['inputs']) for other in others)
    other_rank = order.SeededDataset(Noisy(), seed=1, rank=1)
    assert not torch.equal(dataset[draw]['inputs'], other_rank[draw]['inputs'])


def test_a_pass_leaves_the_generators_alone():
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand(), torch.rand(3)
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    batches = order.PositionedBatches(torch.utils.data.BatchSampler(Global(range(9)), 2, False), seed=0)
    assert len(list(batches)) == len(batches) == 5
    found = random.random(), np.random.rand(), torch.rand(3)
    assert found[:2] == expected[:2]
    assert torch.equal(found[2], expected[2])
