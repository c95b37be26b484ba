"""Trainings compared by what they wrote down, killed and resumed ones too."""

import csv
import json

import numpy as np
import pytest

pytest.importorskip('matplotlib', reason='plots need matplotlib (extra demo)')

from PIL import Image

from helpers.checkpoint_tools import tool
from inimg_mm.errors import UsageError
from inimg_mm.studies.runs import chosen_metrics, csv_lines, final_table, read_runs

CONFIG = "default_scope = 'mmpretrain'\ntrain_cfg = dict(by_epoch=True, max_epochs=3)\n"


def train_line(step, loss, epoch=None):
    entry = dict(lr=0.1, data_time=0.01, loss=loss, time=0.1, iter=step, step=step)
    return entry if epoch is None else {**entry, 'epoch': epoch}


def val_line(step, **metrics):
    return {**{name.replace('__', '/'): value for name, value in metrics.items()}, 'time': 0.2, 'step': step}


@pytest.fixture
def work_dir(tmp_path):
    """Write a work folder of one or several runs; returns its path."""

    def write(name, *runs, config=CONFIG, tail=''):
        folder = tmp_path / 'work' / name
        for number, lines in enumerate(runs):
            log = folder / f'20260101_00000{number}' / 'vis_data' / 'scalars.json'
            log.parent.mkdir(parents=True)
            log.write_text(''.join(json.dumps(line) + '\n' for line in lines) + tail)
        if config:
            (folder / 'config.py').write_text(config)
        return folder

    return write


WHOLE = [
    line
    for epoch in (1, 2, 3)
    for line in (
        train_line(10 * epoch, 3.0 / epoch, epoch),
        val_line(epoch, accuracy__top1=20.0 * epoch, accuracy__top5=90.0),
    )
]


def test_curves_and_the_last_metrics(work_dir):
    folder = work_dir('a', WHOLE)
    (folder / 'metrics.json').write_text(json.dumps({'accuracy/top1': 61.5, 'names': ['x']}))
    (run,) = read_runs([folder])
    assert run.loss == {10: 3.0, 20: 1.5, 30: 1.0}
    assert run.metrics == {
        'accuracy/top1': {1: 20.0, 2: 40.0, 3: 60.0},
        'accuracy/top5': dict.fromkeys((1, 2, 3), 90.0),
    }
    assert (run.unit, run.state) == ('epoch', 'epoch 3 of 3')
    assert run.tested == {'accuracy/top1': 61.5}
    table = final_table([run], chosen_metrics([run])).splitlines()
    assert table[0] == '| run | state | loss | top-1 % | top-1 %, tested |'
    assert table[2] == '| a | epoch 3 of 3 | 1.0000 | 60.0000 | 61.5000 |'


def test_a_run_of_an_ablation_was_tested(work_dir):
    folder = work_dir('a', WHOLE)
    (folder / 'result.json').write_text(json.dumps({'metrics': {'accuracy/top1': 61.5}, 'images': 9}))
    assert read_runs([folder])[0].tested == {'accuracy/top1': 61.5}


def test_a_killed_run_is_drawn_as_far_as_it_came(work_dir):
    (run,) = read_runs([work_dir('a', WHOLE[:3], tail='{"lr": 0.1, "lo')])
    assert run.loss == {10: 3.0, 20: 1.5}
    assert run.state == 'epoch 2 of 3, going on or stopped'
    assert run.last('accuracy/top1') == 20.0


def test_the_last_epoch_has_to_end(work_dir):
    folder = work_dir('a', WHOLE[:-1])
    assert read_runs([folder])[0].state == 'epoch 3 of 3, going on or stopped'
    (folder / 'last_checkpoint').write_text(f'{folder}/epoch_2.pth')
    assert read_runs([folder])[0].state == 'epoch 3 of 3, going on or stopped'
    (folder / 'last_checkpoint').write_text(f'{folder}/epoch_3.pth\n')
    assert read_runs([folder])[0].state == 'epoch 3 of 3'


def test_a_resumed_run_is_one_training(work_dir):
    lost = [
        train_line(10, 3.0, 1),
        val_line(1, accuracy__top1=20.0),
        train_line(15, 9.0, 2),
        train_line(18, 9.0, 2),
    ]
    (run,) = read_runs([work_dir('a', lost, [train_line(12, 2.0, 2), *WHOLE[2:]])])
    assert run.loss == {10: 3.0, 12: 2.0, 20: 1.5, 30: 1.0}
    assert run.metrics['accuracy/top1'] == {1: 20.0, 2: 40.0, 3: 60.0}


def test_a_run_that_began_anew_replaces_the_one_before(work_dir):
    (run,) = read_runs([work_dir('a', WHOLE, [train_line(10, 7.0, 1)])])
    assert run.loss == {10: 7.0}
    assert run.last('accuracy/top1') is None
    assert run.state == 'epoch 1 of 3, going on or stopped'


def test_a_run_by_iterations(work_dir):
    config = "train_cfg = dict(by_epoch=False, type='IterBasedTrainLoop', max_iters=40)\n"
    lines = [train_line(20, 2.0), val_line(20, mIoU=30.0, aAcc=70.0)]
    (run,) = read_runs([work_dir('a', lines, config=config)])
    assert run.state == 'iteration 20 of 40, going on or stopped'
    assert chosen_metrics([run]) == ['mIoU', 'aAcc']
    assert chosen_metrics([run], ['aAcc']) == ['aAcc']
    with pytest.raises(UsageError, match="no run has the metric 'mAcc'; they have mIoU, aAcc"):
        chosen_metrics([run], ['mAcc'])
    # the loss is not logged at each step
    (run,) = read_runs([work_dir('b', [train_line(20, 2.0), val_line(30, mIoU=30.0)], config=config)])
    assert run.state == 'iteration 30 of 40, going on or stopped'
    (run,) = read_runs([work_dir('c', [train_line(20, 2.0), val_line(40, mIoU=30.0)], config=config)])
    assert run.state == 'iteration 40 of 40'


def test_names_tell_the_folders_apart(work_dir):
    folders = [work_dir(f'{gate}/seed0', WHOLE) for gate in ('SE', 'none')]
    assert [run.name for run in read_runs(folders)] == ['SE/seed0', 'none/seed0']
    rows = list(csv.DictReader(csv_lines(read_runs(folders))))
    assert len(rows) == 2 * (3 + 6)
    assert rows[0] == dict(run='SE/seed0', curve='loss', unit='iteration', step='10', value='3.0')


def test_the_tool(work_dir, tmp_path):
    folders = work_dir('a', WHOLE), work_dir('b', WHOLE[:2], config=None)
    status, out, error = tool('compare_runs', *folders, '--out-dir', tmp_path / 'out')
    assert status == 0, error
    assert '| b | epoch 1 | 3.0000 | 20.0000 | – |' in out
    picture = np.asarray(Image.open(tmp_path / 'out' / 'curves.png').convert('RGBA'))
    assert picture[..., 3].min() == 255
    assert (tmp_path / 'out' / 'curves.csv').is_file()


def test_what_is_no_work_folder(work_dir, tmp_path):
    one = work_dir('a', WHOLE)
    damaged = work_dir('b', WHOLE)
    log = next(damaged.glob('*/vis_data/scalars.json'))
    log.write_text('{"cut\n' + log.read_text())
    for folders, message in (
        ([tmp_path / 'none'], 'there is no work folder'),
        ([tmp_path], 'is no work folder of a training'),
        ([one, one], 'is named twice'),
        ([damaged], f'line 1 of {log} is damaged'),
        ([work_dir('c', [])], 'has not begun yet'),
    ):
        status, _, error = tool('compare_runs', *folders)
        assert (status, error.count('\n')) == (2, 1)
        assert message in error
