"""How runs are started: the launch scripts' command lines, process groups, and the switches of train.py."""

import datetime
import os
import subprocess

import pytest
import torch
from mmengine.config import Config
from tooling import CONFIGS, DETECTOR, QUICKEST, TOOLS, assert_refused

from inimg_mm.engine import UsageError, distributed, load_config, preflight, switches
from inimg_mm.engine.sharding import ShardedStrategy

pytest.importorskip('mmdet', reason='the tools launch the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the tools launch the hosts (extra mm)')

RECORD = '#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\n'
"""A program that prints its arguments, one a line."""

LAUNCHED = (
    *(name for names in distributed.VARIABLES.values() for name in names),
    'MASTER_ADDR',
    'MASTER_PORT',
    'SLURM_JOB_NODELIST',
    'SLURM_NODELIST',
    'SLURM_JOB_ID',
)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put programs before all others on PATH."""
    folder = tmp_path / 'bin with spaces'
    folder.mkdir()
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    for name in ('PYTHON', 'NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'RDZV_BACKEND', 'RDZV_ID'):
        monkeypatch.delenv(name, raising=False)
    for name in ('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS'):
        monkeypatch.delenv(name, raising=False)

    def make(name, text=RECORD):
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def launched(monkeypatch):
    """Say what a launcher says in the environment, and nothing else."""
    for name in LAUNCHED:
        monkeypatch.setenv(name, '')  # so that what a test sets is taken back
        monkeypatch.delenv(name)

    def say(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return say


@pytest.fixture
def joined(monkeypatch):
    """Record what a process group is started with, instead of starting it."""
    calls = []
    monkeypatch.setattr(
        distributed.torch.distributed, 'init_process_group', lambda *a, **k: calls.append((a, k))
    )
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    return calls


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
    start = ['-m', 'torch.distributed.run', *meeting]
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


def test_a_signal_reaches_the_job(programs, spaced, tmp_path):
    """Killed gently, a script ends its processes, waits for them, and passes their status on."""
    waiting = '#!/bin/bash\ntrap "echo stopped; exit 7" TERM\necho started\nwhile :; do sleep 0.1; done\n'
    python = programs('python', waiting)
    job = subprocess.Popen(
        [TOOLS / 'dist_train.sh', spaced, '1'],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHON': str(python)},
    )
    assert job.stdout.readline() == 'started\n'
    job.terminate()
    out, _ = job.communicate(timeout=30)
    assert out == 'stopped\n'
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
        ([TRAIN, CONFIG, '2'], dict(PORT='http'), 'PORT must be a whole number'),
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


# ---- process groups -------------------------------------------------------------------------------------


def plain(**options):
    return Config(dict(launcher='pytorch', **options))


TORCHRUN = dict(RANK=1, WORLD_SIZE=2, LOCAL_RANK=0, MASTER_ADDR='10.0.0.1', MASTER_PORT=1234)


@pytest.mark.parametrize(
    ('launcher', 'variables'),
    [
        ('pytorch', TORCHRUN),
        (
            'slurm',
            dict(SLURM_PROCID=1, SLURM_NTASKS=2, SLURM_LOCALID=0, MASTER_ADDR='10.0.0.1', MASTER_PORT=1234),
        ),
        (
            'mpi',
            dict(
                OMPI_COMM_WORLD_RANK=1,
                OMPI_COMM_WORLD_SIZE=2,
                OMPI_COMM_WORLD_LOCAL_RANK=0,
                MASTER_ADDR='10.0.0.1',
                MASTER_PORT=1234,
            ),
        ),
    ],
)
def test_every_launcher_joins_over_gloo(launched, joined, launcher, variables):
    launched(**variables)
    cfg = Config(dict(launcher=launcher, env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=90))))
    distributed.join(cfg)
    assert joined == [(('gloo',), dict(timeout=datetime.timedelta(seconds=90)))]
    assert {name: os.environ[name] for name in TORCHRUN} == {
        name: str(value) for name, value in TORCHRUN.items()
    }
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=False,
        device_ids=None,
    )


def test_the_configs_wrapper_is_kept(launched, joined):
    launched(**TORCHRUN)
    cfg = plain(
        find_unused_parameters=True, model_wrapper_cfg=dict(type='Mine', static_graph=True, device_ids=[3])
    )
    distributed.join(cfg)
    assert cfg.model_wrapper_cfg.type == 'Mine'
    assert cfg.model_wrapper_cfg.find_unused_parameters
    assert cfg.model_wrapper_cfg.static_graph
    assert cfg.model_wrapper_cfg.device_ids is None


def test_strategies_get_a_wrapper_without_devices(launched, joined):
    launched(**TORCHRUN)
    cfg = plain(runner_type='FlexibleRunner')
    distributed.join(cfg)
    assert cfg.strategy.type == 'DDPStrategy'
    assert cfg.strategy.model_wrapper.device_ids is None
    assert 'model_wrapper_cfg' not in cfg
    cfg = plain(runner_type='FlexibleRunner', strategy=dict(type='DeepSpeedStrategy'))
    distributed.join(cfg)
    assert cfg.strategy == dict(type='DeepSpeedStrategy')


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_a_launcher_that_did_not_launch(launched, monkeypatch, capsys, folder, launcher):
    monkeypatch.chdir(folder)
    starter = dict(pytorch='torchrun', slurm='srun', mpi='mpirun')[launcher]
    variables = distributed.VARIABLES[launcher]
    message = [f'--launcher {launcher} finds no {variables[0]}, {variables[1]}', starter]
    config = CONFIGS[QUICKEST]
    assert_refused(monkeypatch, capsys, 'train.py', config, '--launcher', launcher, message=message)


def test_no_address(launched, joined):
    launched(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0)
    with pytest.raises(UsageError, match='--launcher pytorch needs MASTER_ADDR'):
        distributed.join(plain())


def test_more_processes_than_gpus(launched, monkeypatch):
    launched(**{**TORCHRUN, 'LOCAL_RANK': 2})
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(UsageError, match='process 2 of this machine has no GPU: it shows 2'):
        distributed.join(plain())


TASK = dict(SLURM_PROCID=0, SLURM_NTASKS=2, SLURM_LOCALID=0, SLURM_JOB_NODELIST='gpu[07-08]')
SCONTROL = '#!/bin/sh\n[ "$*" = "show hostnames gpu[07-08]" ] || exit 1\nprintf "gpu07\\ngpu08\\n"\n'


def test_slurm_tasks_meet_on_the_first_machine(launched, joined, programs):
    programs('scontrol', SCONTROL)
    launched(**TASK, SLURM_JOB_ID=1234567)
    distributed.join(Config(dict(launcher='slurm')))
    assert (os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']) == ('gpu07', '24567')


def test_a_port_that_is_asked_for(launched, joined, programs):
    programs('scontrol', SCONTROL)
    launched(**TASK, SLURM_JOB_ID=1234567)
    distributed.join(Config(dict(launcher='slurm', env_cfg=dict(dist_cfg=dict(port=999)))))
    assert os.environ['MASTER_PORT'] == '999'
    assert joined[0][1] == {}


def test_slurm_without_its_hosts(launched, joined, programs):
    programs('scontrol', '#!/bin/sh\necho no such job >&2\nexit 1\n')
    launched(**TASK)
    with pytest.raises(UsageError, match=r'scontrol does not know the hosts of gpu\[07-08\]: no such job'):
        distributed.join(Config(dict(launcher='slurm')))


# ---- switches -------------------------------------------------------------------------------------------


def test_auto_scale_lr(monkeypatch, capsys):
    cfg = Config(dict(auto_scale_lr=dict(base_batch_size=16, enable=False)))
    switches.scale_lr(cfg)
    assert cfg.auto_scale_lr == dict(base_batch_size=16, enable=True)
    refusal = dict(message='auto_scale_lr=dict(base_batch_size=…) in the config')
    assert_refused(monkeypatch, capsys, 'train.py', CONFIGS[QUICKEST], '--auto-scale-lr', **refusal)


def test_compile():
    cfg = Config(dict())
    switches.use_compiler(cfg, 'eager')
    assert cfg.get('compile') == dict(backend='eager')
    cfg = Config(dict(compile=dict(backend='aot_eager', dynamic=False)))
    switches.use_compiler(cfg)
    assert cfg.get('compile') == dict(backend='aot_eager', dynamic=False)
    switches.use_compiler(cfg, 'eager')
    assert cfg.get('compile') == dict(backend='eager', dynamic=False)


def test_what_cannot_be_compiled(monkeypatch, capsys):
    config = CONFIGS[QUICKEST]
    refusal = dict(message=["--compile has no backend 'fast'", "'inductor'"])
    assert_refused(monkeypatch, capsys, 'train.py', config, '--compile', 'fast', **refusal)

    def unsupported():
        raise RuntimeError('Python 4 is not known')

    with monkeypatch.context() as patch:
        patch.setattr(torch._dynamo.eval_frame, 'check_if_dynamo_supported', unsupported)
        refusal = dict(message=['--compile does not work with torch', 'Python 4 is not known'])
        assert_refused(monkeypatch, capsys, 'train.py', config, '--compile', 'eager', **refusal)


def test_inductor_needs_something_to_write_code_for(monkeypatch):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, 'get_cpp_compiler', none)
    monkeypatch.setattr(switches, 'get_device', lambda: 'cpu')
    with pytest.raises(UsageError, match=r'needs a C\+\+ compiler'):
        switches.use_compiler(Config(dict()))
    monkeypatch.setattr(torch.utils._triton, 'has_triton', lambda: False)
    monkeypatch.setattr(switches, 'get_device', lambda: 'cuda')
    with pytest.raises(UsageError, match='needs Triton'):
        switches.use_compiler(Config(dict()))


# ---- strategies -----------------------------------------------------------------------------------------

FSDP = dict(runner_type='FlexibleRunner', strategy=dict(type='inimg_mm.FSDPStrategy'))
DEEPSPEED = dict(runner_type='FlexibleRunner', strategy=dict(type='DeepSpeedStrategy'))


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (dict(FSDP, custom_hooks=[dict(type='EMAHook')]), 'EMAHook neither resumes'),
        (dict(FSDP, compile=True), 'nothing is compiled in a FlexibleRunner'),
        (dict(DEEPSPEED, auto_scale_lr=dict(enable=True, base_batch_size=8)), 'does not scale'),
    ],
)
def test_what_a_flexible_runner_leaves_undone(lines, message):
    preflight.check_strategy(Config({**lines, 'runner_type': 'Runner'}))
    with pytest.raises(UsageError, match=message):
        preflight.check_strategy(Config(lines))


def test_auto_scaling_is_left_to_other_strategies():
    preflight.check_strategy(Config(dict(FSDP, auto_scale_lr=dict(enable=True, base_batch_size=8))))


@pytest.mark.parametrize('lines', [FSDP, DEEPSPEED, dict(FSDP, strategy=dict(type=ShardedStrategy))])
def test_shards_need_a_launcher(lines):
    cfg = Config(dict(lines, launcher='none'))
    with pytest.raises(UsageError, match='Strategy needs a launcher, for one process too'):
        distributed.join(cfg)
    distributed.without_shards(cfg)
    distributed.join(cfg)
    assert 'strategy' not in cfg


def test_flexible_runners_without_shards_stay():
    cfg = Config(dict(runner_type='FlexibleRunner', launcher='none'))
    distributed.join(cfg)
    distributed.without_shards(cfg)
    assert cfg.runner_type == 'FlexibleRunner'


def test_fsdp_writes_whole_checkpoints():
    with pytest.raises(ValueError, match='takes no state_dict_cfg'):
        ShardedStrategy(state_dict_cfg='local')


def test_a_folder_of_shards(monkeypatch, capsys, tmp_path, folder):
    monkeypatch.chdir(folder)
    config = CONFIGS[QUICKEST]
    (tmp_path / 'epoch_1.pth').mkdir()
    refusal = dict(message='a folder without the .pt or .pth files of a checkpoint')
    assert_refused(monkeypatch, capsys, 'test.py', config, tmp_path / 'epoch_1.pth', **refusal)
    torch.save(dict(module={}), tmp_path / 'epoch_1.pth' / 'mp_rank_00_model_states.pt')
    refusal = dict(message=['a folder of shards', 'zero_to_fp32.py'])
    assert_refused(monkeypatch, capsys, 'test.py', config, tmp_path / 'epoch_1.pth', **refusal)
    torch.save(dict(module={}, cfg=subprocess.Popen), tmp_path / 'epoch_1.pth' / 'zero_pp_rank_0.pt')
    for command in (['test.py', config, tmp_path / 'epoch_1.pth'],):
        assert_refused(monkeypatch, capsys, *command, message='--trust')


def test_example_configs_of_strategies():
    root = CONFIG.parent.parent / 'imagenet'
    cfg = load_config(root / 'se-r101-fsdp_32xb32_in1k.py')
    assert distributed.strategy_name(cfg) == 'FSDPStrategy'
    cfg = load_config(root / 'scnet101-deepspeed_8xb32_in1k.py')
    assert distributed.strategy_name(cfg) == 'DeepSpeedStrategy'
    assert cfg.optim_wrapper.keys() == {'type', 'optimizer'}  # all that DeepSpeedOptimWrapper takes
