"""What the tests of the tools share: how they are run, here or in a process, and on what."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
CONFIGS = {path.stem: path for path in sorted((ROOT / 'configs' / 'demo').glob('*.py'))}
QUICKEST = 'se-r18_digits'
DETECTOR = 'faster-rcnn_cmpese-r18_fpn_digits'
TWO_ITERATIONS = (
    'train_cfg.max_epochs=1',
    'train_dataloader.batch_size=8',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'default_hooks.logger.interval=1',
)


def use_cpu(patch):
    """Hide the GPUs from mmengine, and from processes that are started from now on."""
    patch.setenv('CUDA_VISIBLE_DEVICES', '-1')
    patch.setattr('mmengine.device.utils.DEVICE', 'cpu')


def run(*command, cwd, **environment):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1', **environment},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def run_tool(name, *arguments, cwd):
    return run(sys.executable, '-W', 'ignore', TOOLS / name, *arguments, cwd=cwd)


def call_tool(monkeypatch, name, *arguments):
    """Run a tool in this process, which is quicker."""
    monkeypatch.setattr(sys, 'argv', [name, *(str(argument) for argument in arguments)])
    runpy.run_path(str(TOOLS / name), run_name='__main__')


def assert_refused(monkeypatch, capsys, name, *arguments, message):
    with pytest.raises(SystemExit) as stop:
        call_tool(monkeypatch, name, *arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert error.count('\n') == 1
    for part in [message] if isinstance(message, str) else message:
        assert part in error
