"""The demo detector, killed ten times at a random iteration and resumed by tools/train.py."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from helpers.tooling import CONFIGS, DETECTOR, TOOLS
from helpers.toy_training import assert_same, state

pytest.importorskip('mmdet', reason='the demo detector needs mmdet (extra mm)')

EPOCHS, LENGTH, KILLS = 9, 4, 10

STARTER = f"""
import json, os, runpy, sys
import mmdet.utils, torch
import inimg_mm.engine
torch.set_num_threads(1)
mmdet.utils.register_all_modules(init_default_scope=False)
for line in sys.stdin:  # each run is a process of its own, and the imports are done once
    child = os.fork()
    if not child:
        arguments, environment = json.loads(line)
        os.environ.update(environment)
        sys.argv = ['train.py', *arguments]
        runpy.run_path({str(TOOLS / 'train.py')!r}, run_name='__main__')
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(0)
    print('exit', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

KILLER = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Killer(Hook):
    def die(self, moment, iteration):
        if [moment, str(iteration)] == os.environ.get('DIE', '').split():
            os.kill(os.getpid(), signal.SIGKILL)

    def before_train_iter(self, runner, **_):
        self.die('begin', runner.iter + 1)

    def after_train_iter(self, runner, **_):
        self.die('end', runner.iter + 1)

    def before_save_checkpoint(self, runner, checkpoint):
        self.die('saving', checkpoint['meta']['iter'])

    def after_val_iter(self, runner, **_):
        self.die('validation', runner.iter)
"""

CONFIG = f"""
_base_ = {str(CONFIGS[DETECTOR])!r}
custom_imports = dict(imports=['killer'])
custom_hooks = [dict(type='mmengine.Killer', priority='HIGH')]
train_cfg = dict(max_epochs={EPOCHS}, val_interval=2)
train_dataloader = dict(batch_size=2, dataset=dict(indices={2 * LENGTH}))
val_dataloader = dict(batch_size=2, dataset=dict(indices=2))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2), logger=dict(interval=1))
randomness = dict(seed=0, deterministic=True)
"""


@pytest.fixture
def train(folder, tmp_path, on_cpu):
    """A function that runs tools/train.py in a process of its own and returns how that ended."""
    (tmp_path / 'killer.py').write_text(KILLER)
    (tmp_path / 'config.py').write_text(CONFIG)
    environment = dict(os.environ, PYTHONPATH=str(tmp_path), OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    log = (tmp_path / 'log').open('w')
    starter = subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', STARTER],
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
    )

    def run(work_dir, die=''):
        arguments = [str(tmp_path / 'config.py'), '--work-dir', str(work_dir), '--resume']
        starter.stdin.write(json.dumps([arguments, dict(DIE=die)]) + '\n')
        starter.stdin.flush()
        for line in starter.stdout:
            if line.startswith('exit '):
                return int(line.split()[1])
        raise AssertionError((tmp_path / 'log').read_text()[-3000:])

    yield run
    starter.stdin.close()
    starter.wait()
    log.close()


@pytest.mark.slow
def test_ten_kills(train, tmp_path):
    draw = random.Random(2105)
    assert train(tmp_path / 'whole') == 0
    killed = tmp_path / 'killed'
    record = []
    for _ in range(KILLS):
        newest = killed / 'last_checkpoint'
        begin = LENGTH * int(newest.read_text().split('epoch_')[1].split('.')[0]) if newest.exists() else 0
        iteration = begin + draw.randint(1, min(7, EPOCHS * LENGTH - begin))
        moments = ['begin', 'end']
        if iteration % LENGTH == 0:
            moments += ['saving'] if iteration // LENGTH % 2 else ['saving', 'validation']
        record.append(f'{draw.choice(moments)} {iteration}')
        assert train(killed, record[-1]) == -signal.SIGKILL, record
    print(f'killed at: {", ".join(record)}')
    assert train(killed) == 0
    last = f'epoch_{EPOCHS}.pth'
    assert_same(state(tmp_path / 'whole', last), state(killed, last))
    assert sorted(path.name for path in killed.glob('*.pth')) == [f'epoch_{EPOCHS - 1}.pth', last]
    assert not list(killed.glob('.*'))
