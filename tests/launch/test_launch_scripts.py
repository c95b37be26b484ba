"""The launch scripts: the command lines that they run, their status, and mistakes in one line."""

import os
import signal
import subprocess

import pytest

from helpers.tooling import CONFIGS, DETECTOR, TOOLS


def script(name, *arguments, cwd, **environment):
    command = [str(TOOLS / name), *(str(argument) for argument in arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )


def words(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# ---- the scripts' command lines -------------------------------------------------------------------------


@pytest.fixture
def spaced(tmp_path):
    config = tmp_path / 'my config.py'
    config.write_text("default_scope = 'mmdet'\n")
    return config


STATIC = ['--master-addr=10.0.0.1', '--master-port=29500']


@pytest.mark.parametrize(
    ('environment', 'meeting'),
    [
        ({}, ['--nnodes=1', '--nproc-per-node=2', '--standalone']),
        (
            dict(PORT='1234'),
            [
                '--nnodes=1',
                '--nproc-per-node=2',
                '--node-rank=0',
                '--master-addr=127.0.0.1',
                '--master-port=1234',
            ],
        ),
        (
            dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1'),
            ['--nnodes=2', '--nproc-per-node=2', '--node-rank=1', *STATIC],
        ),
        (
            dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1', RDZV_BACKEND='c10d', RDZV_ID='my job'),
            [
                '--nnodes=2',
                '--nproc-per-node=2',
                '--rdzv-backend=c10d',
                '--rdzv-endpoint=10.0.0.1:29500',
                '--rdzv-id=my job',
                '--rdzv-conf=is_host=0',
            ],
        ),
        (
            dict(MASTER_ADDR='10.0.0.1', RDZV_BACKEND='c10d'),
            [
                '--nnodes=1',
                '--nproc-per-node=2',
                '--rdzv-backend=c10d',
                '--rdzv-endpoint=10.0.0.1:29500',
                '--rdzv-id=inimg_mm',
                '--rdzv-conf=is_host=1',
            ],
        ),
    ],
)
def test_torchrun(programs, spaced, tmp_path, environment, meeting):
    python = programs('my python')
    options = ['--work-dir', 'a b', '--cfg-options', 'x=[1,2]']
    done = script('dist_train.sh', spaced, 2, *options, cwd=tmp_path, PYTHON=str(python), **environment)
    start = [f'{TOOLS}/_torchrun.py', *meeting]
    assert words(done) == [*start, f'{TOOLS}/train.py', str(spaced), *options, '--launcher', 'pytorch']
    done = script(
        'dist_test.sh', spaced, 'a b.pth', 2, '--out', 'c', cwd=tmp_path, PYTHON=str(python), **environment
    )
    expected = [*start, f'{TOOLS}/test.py', str(spaced), 'a b.pth', '--out', 'c', '--launcher', 'pytorch']
    assert words(done) == expected


def test_scripts_work_from_any_folder(programs, spaced, tmp_path):
    python = programs('python')
    link = tmp_path / 'linked tools'
    link.symlink_to(TOOLS)
    done = subprocess.run(
        [link / 'dist_train.sh', 'my config.py', '1'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHON': str(python)},
        capture_output=True,
        text=True,
    )
    assert str(link / 'train.py') in words(done) or str(TOOLS / 'train.py') in words(done)


def test_slurm(programs, spaced, tmp_path):
    programs('srun')
    python = programs('my python')
    done = script(
        'slurm_train.sh', 'a part', 'a job', spaced, 'work dir', '--amp', cwd=tmp_path, PYTHON=str(python)
    )
    task = [str(python), '-u', f'{TOOLS}/train.py', str(spaced), '--work-dir', 'work dir', '--amp']
    start = ['--partition=a part', '--job-name=a job', '--gres=gpu:8', '--ntasks=8', '--ntasks-per-node=8']
    start += ['--cpus-per-task=5', '--kill-on-bad-exit=1']
    assert words(done) == [*start, *task, '--launcher', 'slurm']

    environment = dict(GPUS='16', GPUS_PER_NODE='4', CPUS_PER_TASK='2', SRUN_ARGS='--qos=low  --exclusive')
    done = script(
        'slurm_test.sh', 'p', 'j', spaced, 'a b.pth', cwd=tmp_path, PYTHON=str(python), **environment
    )
    start = ['--partition=p', '--job-name=j', '--gres=gpu:4', '--ntasks=16', '--ntasks-per-node=4']
    start += ['--cpus-per-task=2', '--kill-on-bad-exit=1', '--qos=low', '--exclusive']
    task = [str(python), '-u', f'{TOOLS}/test.py', str(spaced), 'a b.pth']
    assert words(done) == [*start, *task, '--launcher', 'slurm']

    done = script('slurm_test.sh', 'p', 'j', spaced, 'x', cwd=tmp_path, PYTHON=str(python), GPUS='2')
    assert '--ntasks-per-node=2' in words(done)


def test_the_jobs_status_is_the_scripts(programs, spaced, tmp_path):
    python = programs('python', '#!/bin/sh\nexit 3\n')
    done = script('dist_train.sh', spaced, 1, cwd=tmp_path, PYTHON=str(python))
    assert done.returncode == 3
    assert 'dist_train.sh: the job has ended with status 3' in done.stderr
    assert '--resume goes on from the newest checkpoint' in done.stderr
    done = script('dist_test.sh', spaced, 'x.pth', 1, cwd=tmp_path, PYTHON=str(python))
    assert done.returncode == 3
    assert '--resume' not in done.stderr


@pytest.mark.parametrize('name', ['TERM', 'INT'])
def test_a_signal_reaches_the_job(programs, spaced, tmp_path, name):
    """Killed gently, a script ends its processes, waits for them, and passes their status on, silently."""
    waiting = f'#!/bin/bash\ntrap "echo {name}; exit 7" {name}\necho started\nwhile :; do sleep 0.1; done\n'
    python = programs('python', waiting)
    job = subprocess.Popen(
        [TOOLS / 'dist_train.sh', spaced, '1'],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHON': str(python)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert job.stdout.readline() == 'started\n'
    job.send_signal(getattr(signal, f'SIG{name}'))
    out, error = job.communicate(timeout=30)
    assert (out, error) == (f'{name}\n', '')
    assert job.returncode == 7


@pytest.mark.parametrize('name', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_help(programs, tmp_path, name):
    for arguments in (['--help'], ['-h'], ['x.py', '--help']):
        text = '\n'.join(words(script(name, *arguments, cwd=tmp_path)))
        assert f'tools/{name} ' in text
        assert 'PYTHON' in text
        assert '#' not in text
        assert 'begin' not in text


CONFIG = CONFIGS[DETECTOR]
TRAIN, TEST, SLURM = 'dist_train.sh', 'dist_test.sh', 'slurm_train.sh'


@pytest.mark.parametrize(
    ('command', 'environment', 'message'),
    [
        ([TRAIN], {}, 'CONFIG is missing: dist_train.sh CONFIG GPUS'),
        ([TRAIN, CONFIG], {}, 'GPUS is missing'),
        ([TRAIN, CONFIG, '--amp'], {}, 'GPUS is missing'),
        ([TEST, CONFIG, 'x.pth'], {}, 'GPUS is missing: dist_test.sh CONFIG CHECKPOINT GPUS'),
        ([TRAIN, 'nowhere.py', '2'], {}, 'there is no config file nowhere.py'),
        ([TRAIN, CONFIG, 'two'], {}, "GPUS must be a whole number of at least 1, and not 'two'"),
        ([TRAIN, CONFIG, '0'], {}, "GPUS must be a whole number of at least 1, and not '0'"),
        ([TRAIN, CONFIG, '2'], dict(NNODES='x'), "NNODES must be a whole number of at least 1, and not 'x'"),
        ([TRAIN, CONFIG, '2'], dict(NODE_RANK='-1'), 'NODE_RANK must be a whole number of at least 0'),
        ([TRAIN, CONFIG, '08'], {}, "GPUS must be a whole number of at least 1, and not '08'"),
        (
            [TRAIN, CONFIG, '2'],
            dict(PORT='http'),
            "PORT must be a whole number from 1 to 65535, and not 'http'",
        ),
        ([TRAIN, CONFIG, '2'], dict(PORT='65536'), 'PORT must be a whole number from 1 to 65535'),
        ([TRAIN, CONFIG, '2'], dict(NODE_RANK='1'), 'with NNODES=1 it cannot be 1'),
        ([TRAIN, CONFIG, '2'], dict(NNODES='2'), 'NNODES=2 needs MASTER_ADDR'),
        ([TRAIN, CONFIG, '2'], dict(RDZV_BACKEND='etcd'), "RDZV_BACKEND is static or c10d, and not 'etcd'"),
        ([TRAIN, CONFIG, '2'], dict(PYTHON='/no/python'), "there is no Python at '/no/python'"),
        (
            [SLURM, 'p', 'j', CONFIG],
            {},
            'WORK_DIR is missing: slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR',
        ),
        ([SLURM, 'p', 'j', 'nowhere.py', 'w'], {}, 'there is no config file nowhere.py'),
        ([SLURM, 'p', 'j', CONFIG, 'w'], dict(GPUS='many'), 'GPUS must be a whole number'),
        ([SLURM, 'p', 'j', CONFIG, 'w'], {}, 'there is no srun here'),
    ],
)
def test_wrong_arguments_of_the_scripts(programs, tmp_path, command, environment, message):
    environment = {'PYTHON': str(programs('python')), **environment}
    done = script(*command, cwd=tmp_path, **environment)
    assert done.returncode == 2
    assert done.stdout == ''
    assert done.stderr.count('\n') == 1
    assert done.stderr.startswith(f'{command[0]}: ')
    assert message in done.stderr
