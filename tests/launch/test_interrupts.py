"""A run that is stopped by a signal: one line, its status, and where it goes on."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from helpers.tooling import CONFIGS, QUICKEST, ROOT, TOOLS, TWO_ITERATIONS
from inimg_mm import startup
from inimg_mm.launch.cli import mistakes_in_one_line
from inimg_mm.launch.interrupts import how_to_go_on, stops_in_one_line

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
NAMES = {signal.SIGINT: 'Ctrl-C', signal.SIGTERM: 'SIGTERM'}
BOTH = pytest.mark.parametrize('number', STATUS)


@pytest.fixture(autouse=True)
def _own_handlers():
    """Keep what a stop leaves behind from the next test, and Ctrl-C in force where pytest ignores it."""
    before = {number: signal.getsignal(number) for number in [*STATUS, signal.SIGCHLD]}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def kill(number):
    os.kill(os.getpid(), number)


@BOTH
def test_one_line_and_the_status(number, capsys):
    with pytest.raises(SystemExit) as stop, mistakes_in_one_line():
        kill(number)
    assert stop.value.code == STATUS[number]
    assert capsys.readouterr().err == f'stopped by {NAMES[number]}\n'
    assert signal.getsignal(number) is signal.SIG_DFL  # a second one ends it at once


def test_the_innermost_says_how_to_go_on(tmp_path, capsys):
    advice = stops_in_one_line(lambda: how_to_go_on(tmp_path))
    with pytest.raises(SystemExit), mistakes_in_one_line(), advice:
        kill(signal.SIGTERM)
    nothing = f'there is no checkpoint in {tmp_path} yet: the same command begins anew'
    assert capsys.readouterr().err == f'stopped by SIGTERM: {nothing}\n'
    assert {signal.getsignal(number) for number in STATUS} == {signal.SIG_DFL}  # a second one ends it at once


def test_the_newest_checkpoint(tmp_path):
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (tmp_path / name).touch()
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_2.pth')
    newest = f'the newest checkpoint is {tmp_path / "epoch_2.pth"}; the same command with --resume'
    assert how_to_go_on(tmp_path).startswith(newest)
    (tmp_path / 'epoch_2.pth').unlink()
    assert str(tmp_path / 'epoch_1.pth') in how_to_go_on(tmp_path)


def test_an_error_that_a_stop_causes_is_the_stop(capsys):
    def loading():
        try:
            kill(signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError('DataLoader worker is killed by signal: Terminated') from None

    with pytest.raises(SystemExit) as stop, stops_in_one_line():
        loading()
    assert stop.value.code == 143
    assert capsys.readouterr().err == 'stopped by SIGTERM\n'


def test_workers_end_without_a_word():
    worker = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
    signal.signal(signal.SIGCHLD, lambda *_: pytest.fail('torch raises when a worker ends'))
    worker.start()
    with pytest.raises(SystemExit), stops_in_one_line():
        kill(signal.SIGTERM)
    worker.join()
    assert worker.exitcode == -signal.SIGKILL


def test_a_second_signal_while_the_first_is_answered(capsys):
    with pytest.raises(SystemExit) as stop, stops_in_one_line(lambda: kill(signal.SIGINT) or 'go on'):
        kill(signal.SIGTERM)
    assert stop.value.code == 143
    assert capsys.readouterr().err == 'stopped by SIGTERM: go on\n'


def test_a_signal_that_is_lost_does_not_cost_the_next():
    def losing_one():
        with suppress(KeyboardInterrupt):  # as Python does in a __del__
            kill(signal.SIGINT)
        kill(signal.SIGTERM)

    with pytest.raises(SystemExit) as stop, stops_in_one_line():
        losing_one()
    assert stop.value.code == 130


def test_what_is_ignored_stays_ignored(capsys):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
    with stops_in_one_line():
        kill(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert capsys.readouterr().err == ''


def test_nothing_is_left_behind_and_threads_are_left_alone():
    before = {number: signal.getsignal(number) for number in STATUS}
    with pytest.raises(RuntimeError, match='a bug'), mistakes_in_one_line():
        raise RuntimeError('a bug')
    seen = []

    def elsewhere():
        with stops_in_one_line():
            seen.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [True]
    assert before == {number: signal.getsignal(number) for number in STATUS}


@pytest.mark.parametrize('variable', ['RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'])
def test_the_first_process_speaks_for_all(monkeypatch, capsys, variable):
    for rank, said in (('0', 1), ('1', 0)):
        monkeypatch.setenv(variable, rank)
        with pytest.raises(SystemExit), stops_in_one_line():
            kill(signal.SIGTERM)
        assert capsys.readouterr().err.count('stopped') == said


# ---- before torch is there ------------------------------------------------------------------------------

EARLY = 'from inimg_mm import startup; startup.begin(); import sys, time; assert "torch" not in sys.modules; '
"""What every tool begins with."""


def early(code, **environment):
    return subprocess.Popen(
        [sys.executable, '-c', EARLY + code],
        env={**os.environ, 'PYTHONPATH': str(ROOT), **environment},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@BOTH
def test_a_stop_during_the_imports(number):
    process = early('print("ready", flush=True); time.sleep(60)')
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == STATUS[number]
    assert error == f'stopped by {NAMES[number]}, before anything was begun\n'


@pytest.mark.parametrize(('given', 'has'), [({}, 'PASSIVE'), (dict(OMP_WAIT_POLICY='ACTIVE'), 'ACTIVE')])
def test_idle_threads_sleep_unless_the_user_says_otherwise(monkeypatch, given, has):
    monkeypatch.delenv('OMP_WAIT_POLICY', raising=False)
    process = early('import os; print(os.environ["OMP_WAIT_POLICY"])', **given)
    assert process.communicate(timeout=60)[0] == f'{has}\n'


def test_beginning_late_changes_nothing(monkeypatch):
    monkeypatch.delenv('OMP_WAIT_POLICY', raising=False)
    before = sys.excepthook, signal.getsignal(signal.SIGTERM)
    startup.begin()
    assert 'OMP_WAIT_POLICY' not in os.environ
    assert before == (sys.excepthook, signal.getsignal(signal.SIGTERM))


# ---- trainings ------------------------------------------------------------------------------------------


def stopped_training(*command, cwd, number, **environment):
    """Start a training, stop it in its second epoch; what it printed and its status."""
    options = ['--cfg-options', *TWO_ITERATIONS, 'train_cfg.max_epochs=500']
    process = subprocess.Popen(
        [str(word) for word in [*command, *options]],
        cwd=cwd,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **environment},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stdout:
            if re.search(r'Epoch\(train\) +\[2\]', line):
                break
        os.killpg(process.pid, number)  # as a terminal does: the loaders' workers have it, too
        _, error = process.communicate(timeout=120)
    finally:
        process.kill()
    return error, process.returncode


@pytest.mark.slow
@BOTH
def test_a_training_is_stopped(folder, tmp_path, number):
    command = [sys.executable, '-W', 'ignore', TOOLS / 'train.py', CONFIGS[QUICKEST]]
    command += ['--work-dir', tmp_path]
    error, status = stopped_training(*command, cwd=folder, number=number)
    assert status == STATUS[number]
    newest = rf'the newest checkpoint is {re.escape(str(tmp_path))}/epoch_\d+\.pth'
    assert re.fullmatch(
        f'stopped by {NAMES[number]}: {newest}; the same command with --resume goes on from it\n', error
    )


@pytest.mark.slow
@BOTH
def test_a_job_of_two_processes_is_stopped(folder, tmp_path, number):
    """By a signal to the script: the first process says it, and torchrun has no traceback."""
    command = [TOOLS / 'dist_train.sh', CONFIGS[QUICKEST], 2, '--work-dir', tmp_path]
    error, status = stopped_training(*command, cwd=folder, number=number, PYTHONWARNINGS='ignore')
    assert status == STATUS[number]
    lines = [line for line in error.splitlines() if line.startswith(f'stopped by {NAMES[number]}: ')]
    assert len(lines) == 1
    assert 'Traceback' not in error
    assert 'closing signal' not in error
