"""Proof of distribution on one machine: several processes over gloo do what one does, and end when one dies.

What the small training computes in one process, with all of a batch, is what several compute together: its
norms are in eval, its pictures come without chance, and its steps are linear in the gradient.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

pytest.importorskip('mmdet', reason='the tools launch the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the tools launch the hosts (extra mm)')

from helpers.nets import image
from helpers.processes import gated_nets, gradients_of_half_a_batch, loss
from helpers.small_training import STILL, assert_close, checkpoint, classifier
from helpers.tooling import CONFIGS, DETECTOR, ROOT, TOOLS, TWO_ITERATIONS, use_cpu
from inimg_mm import launch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures('on_cpu'),  # gloo is for machines without an accelerator
]

LIMIT = 300
"""Seconds after which a job counts as hanging."""

BATCH_OF_FOUR = {'train_dataloader.batch_size': 4, 'train_cfg.max_epochs': 2}
"""Two processes together have the batches of eight of one."""


def job(script, *arguments, cwd, **environment):
    """Start a launch script in the background."""
    return subprocess.Popen(
        [str(TOOLS / script), *(str(argument) for argument in arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **environment},
    )


def ended(started):
    """What a job printed, and its status; one that hangs fails the test, and is stopped."""
    try:
        output, _ = started.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        started.terminate()
        output, _ = started.communicate(timeout=60)
        pytest.fail(f'no end after {LIMIT} s: {output[-3000:]}')
    return output, started.returncode


def succeeded(started):
    output, status = ended(started)
    assert status == 0, output[-3000:]
    return ' '.join(output.split())


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


@pytest.fixture
def config(tmp_path):
    """Write the small training down, for processes of their own."""

    def write(name='small', **options):
        path = tmp_path / f'{name}.py'
        classifier('unused', **{**STILL, **BATCH_OF_FOUR, **options}).dump(path)
        return path

    return write


@pytest.fixture(scope='module')
def alone(folder, tmp_path_factory):
    """The small training in one process: two epochs of three batches of eight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        use_cpu(patch)
        cfg = classifier(tmp_path_factory.mktemp('alone'), **{**STILL, 'train_cfg.max_epochs': 2})
        launch.train(cfg)
    return cfg


def assert_same_as_alone(work_dir, alone):
    together = torch.load(work_dir / 'epoch_2.pth', weights_only=False)['state_dict']
    assert_close(together, checkpoint(alone, 'epoch_2.pth')['state_dict'], rtol=1e-4, atol=1e-6)


# ---- gradients ------------------------------------------------------------------------------------------


def test_two_ranks_give_the_gradients_of_the_joint_batch(tmp_path):
    images = image(64, 64, batch=4, dtype=torch.float64)
    result = tmp_path / 'gradients.pth'
    arguments = (tmp_path / 'meeting', images, result)
    torch.multiprocessing.spawn(gradients_of_half_a_batch, arguments, nprocs=2)
    together = torch.load(result)
    for gate, net in gated_nets():
        loss(net, images).backward()
        joint = {name: parameter.grad for name, parameter in net.named_parameters()}
        assert any(
            gradient.abs().max() > 0
            for name, gradient in joint.items()
            if '.gate.' in name or '.se_layer.' in name
        )
        assert_close(together[gate], joint, rtol=1e-6, atol=1e-12)


# ---- launchers ------------------------------------------------------------------------------------------


def test_two_machines_meet_by_c10d_and_train_the_demo_detector(folder, tmp_path):
    meeting = dict(NNODES='2', MASTER_ADDR='127.0.0.1', PORT=free_port(), RDZV_BACKEND='c10d')
    options = ['--work-dir', tmp_path, '--cfg-options', *TWO_ITERATIONS, 'train_dataloader.batch_size=4']
    machines = [
        job('dist_train.sh', CONFIGS[DETECTOR], 1, *options, cwd=folder, NODE_RANK=rank, **meeting)
        for rank in ('1', '0')
    ]
    output = ' '.join(succeeded(machine) for machine in machines)
    assert 'Distributed launcher: pytorch' in output
    assert 'GPU number: 2' in output
    assert 'Epoch(train) [1][2/2]' in output  # 16 pictures, batches of 4, two processes
    assert 'coco/bbox_mAP' in output
    assert (tmp_path / 'epoch_1.pth').is_file()


SRUN = f"""#!{sys.executable}
import os, subprocess, sys
options = dict(word.split('=', 1) for word in sys.argv[1:] if word.startswith('--') and '=' in word)
command = sys.argv[sys.argv.index({sys.executable!r}):]
task = dict(os.environ, SLURM_JOB_ID='4242', SLURM_JOB_NODELIST='here', SLURM_NTASKS=options['--ntasks'])
tasks = [
    subprocess.Popen(command, env=dict(task, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank)))
    for rank in range(int(options['--ntasks']))
]
sys.exit(max(task.wait() for task in tasks))
"""


def test_slurm_trains_on_cpus(folder, config, programs, alone, tmp_path):
    """A Slurm of one machine: srun starts two real tasks, scontrol names their host."""
    programs('srun', SRUN)
    programs('scontrol', '#!/bin/sh\necho 127.0.0.1\n')
    work_dir = tmp_path / 'w'
    options = [f'env_cfg.dist_cfg.port={free_port()}', 'default_hooks.logger.interval=1']
    command = ['slurm_train.sh', 'cpus', 'job', config(), work_dir, '--cfg-options', *options]
    output = succeeded(job(*command, cwd=folder, GPUS='2', SRUN_ARGS='--gres=none'))
    assert 'Distributed launcher: slurm' in output
    assert 'Epoch(train) [2][3/3]' in output
    assert_same_as_alone(work_dir, alone)


def test_dist_test_tests_as_one_process_does(folder, monkeypatch, config, alone, tmp_path):
    path, written = f'{alone.work_dir}/epoch_2.pth', tmp_path / 'metrics.json'
    output = succeeded(job('dist_test.sh', config(), path, 2, '--out', written, cwd=folder))
    assert 'GPU number: 2' in output
    monkeypatch.chdir(folder)
    assert json.loads(written.read_text()) == launch.evaluate(classifier(tmp_path), path)


# ---- a process that dies --------------------------------------------------------------------------------

TROUBLE = """
import os, signal, time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class TroubleHook(Hook):
    '''In the second epoch, the second process is killed, or says nothing any more.'''

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 4 and runner.rank == 1 and os.environ.get('TROUBLE'):
            if os.environ['TROUBLE'] == 'kill':
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(3600)
"""


@pytest.fixture
def troubled(config, tmp_path):
    (tmp_path / 'trouble.py').write_text(TROUBLE)
    imports = dict(imports=['trouble'], allow_failed_imports=False)
    options = {'env_cfg.dist_cfg.timeout': 15}
    path = config('troubled', custom_imports=imports, custom_hooks=[dict(type='TroubleHook')], **options)
    return dict(config=path, environment=dict(PYTHONPATH=str(tmp_path)))


def test_a_killed_rank_ends_the_job_and_resume_goes_on(folder, troubled, alone, tmp_path):
    command = ['dist_train.sh', troubled['config'], 2, '--work-dir', tmp_path / 'w']
    environment = troubled['environment']
    output, status = ended(job(*command, cwd=folder, TROUBLE='kill', **environment))
    assert status not in (0, 2)
    assert f'Signal {signal.SIGKILL} (SIGKILL) received by PID' in output
    assert re.search(r'rank\s+: 1 \(local_rank: 1\)', output)
    last = output.strip().splitlines()[-1]
    assert 'dist_train.sh: the job has ended with status' in last
    assert '--resume goes on from the newest checkpoint' in last
    assert (tmp_path / 'w' / 'epoch_1.pth').is_file()
    assert not (tmp_path / 'w' / 'epoch_2.pth').exists()

    output = succeeded(job(*command, '--resume', cwd=folder, **environment))
    assert 'resumed epoch: 1' in output
    assert_same_as_alone(tmp_path / 'w', alone)


@pytest.mark.parametrize('trouble', ['kill', 'silence'])
def test_trouble_on_one_machine_ends_the_job_on_the_other(folder, troubled, tmp_path, trouble):
    """The process that is killed breaks the connection; of one that is silent, the time-out tells."""
    meeting = dict(NNODES='2', MASTER_ADDR='127.0.0.1', PORT=free_port(), TROUBLE=trouble)
    command = ['dist_train.sh', troubled['config'], 1, '--work-dir', tmp_path / 'w']
    began = time.monotonic()
    machines = [
        job(*command, cwd=folder, NODE_RANK=rank, **meeting, **troubled['environment']) for rank in ('0', '1')
    ]
    output, status = ended(machines[0])
    assert status not in (0, 2)
    assert re.search(r'gloo.*(by peer|Broken pipe)|Timed out waiting 15000ms', output), output[-6000:]
    assert 'the job has ended with status' in output
    if trouble == 'silence':
        machines[1].terminate()
    _, status = ended(machines[1])
    assert status not in (0, 2)
    assert time.monotonic() - began < LIMIT


# ---- strategies -----------------------------------------------------------------------------------------


def test_fsdp_trains_resumes_and_is_tested(folder, config, alone, tmp_path, monkeypatch):
    """Sharded by blocks over two processes: the weights of one process, whole checkpoints, exact resuming."""
    lines = launch.load_config(ROOT / 'configs' / 'imagenet' / 'se-r101-fsdp_32xb32_in1k.py')
    path = config('fsdp', runner_type=lines.runner_type, strategy=lines.strategy.to_dict())
    command = ['dist_train.sh', path, 2, '--work-dir', tmp_path / 'w']
    output = succeeded(job(*command, '--cfg-options', 'train_cfg.max_epochs=1', cwd=folder))
    assert 'FullyShardedDataParallel' in output or 'FSDPStrategy' in output
    succeeded(job(*command, '--resume', cwd=folder))
    assert_same_as_alone(tmp_path / 'w', alone)

    tool = [sys.executable, '-W', 'ignore', TOOLS / 'test.py', path, tmp_path / 'w' / 'epoch_2.pth']
    done = subprocess.run(tool, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done
    monkeypatch.chdir(folder)
    expected = launch.evaluate(classifier(tmp_path / 'one'), f'{alone.work_dir}/epoch_2.pth')
    assert f'accuracy/top1: {expected["accuracy/top1"]:.4f}' in done.stdout + done.stderr
