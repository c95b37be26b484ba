"""demo.sh with a stand-in for Python: progress as it comes, and the word on a training that ends early."""

import os
import signal
import subprocess
import threading

import pytest

from helpers.tooling import DETECTOR, TOOLS

STAND_IN = """#!/bin/bash
case "$*" in
    *make_demo_data.py*) mkdir -p data/demo; echo '{}' >data/demo/manifest.json ;;
    *train.py*)
        echo '11/26 20:20:20 - mmengine - INFO - Epoch(train) [1][20/90]  lr: 1.0000e-03  loss: 1.0'
        echo 'not shown'
        read -r word <"$FIFO"
        [[ $word != save ]] || { echo "$WORK/epoch_1.pth" >"$WORK/last_checkpoint"; kill -KILL $$; }
        [[ $word != fail ]] || { echo 'the last words' >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def demo(tmp_path):
    """A demo whose training has logged one line and waits for a word; and where to write the word."""
    python, fifo, work = tmp_path / 'python', tmp_path / 'fifo', tmp_path / 'work'
    python.write_text(STAND_IN)
    python.chmod(0o755)
    os.mkfifo(fifo)
    environment = dict(PYTHON=str(python), FIFO=str(fifo), WORK=str(work / DETECTOR))
    job = subprocess.Popen(
        [TOOLS / 'demo.sh', '--smoke', '--no-install', '--work-dir', work],
        env={**os.environ, **environment},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    too_late = threading.Timer(60, os.killpg, (job.pid, signal.SIGKILL))
    too_late.start()
    lines = iter(job.stdout.readline, '')
    assert any(line == '    Epoch(train) [1][20/90]  lr: 1.0000e-03  loss: 1.0\n' for line in lines)
    too_late.cancel()
    yield job, fifo
    if job.poll() is None:
        os.killpg(job.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ('word', 'says'),
    [
        ('save', 'The same command goes on from the last checkpoint, epoch_1.pth.'),
        ('fail', 'There is no checkpoint yet: the same command begins that training anew.'),
    ],
)
def test_a_training_that_ends_early(demo, word, says):
    """Its progress was shown while it ran: the fixture has read it."""
    job, fifo = demo
    fifo.write_text(f'{word}\n')
    out, error = job.communicate(timeout=60)
    assert job.returncode == 1
    assert 'not shown' not in out
    assert 'not shown\n' in error  # the log's tail
    assert ('the last words\n' in error) == (word == 'fail')
    assert error.splitlines()[-1].startswith('demo.sh: that failed; the whole output is in ')
    assert error.splitlines()[-1].endswith(says)


def test_ctrl_c(demo):
    job, _ = demo
    os.killpg(job.pid, signal.SIGINT)
    _, error = job.communicate(timeout=60)
    assert job.returncode == 130
    assert error.splitlines()[-1].startswith('demo.sh: stopped. The same command takes up what is finished')
