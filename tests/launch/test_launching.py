"""How runs are started: process groups, the switches of train.py, and strategies."""

import datetime
import importlib.util
import os
import subprocess

import pytest
import torch
from mmengine.config import Config

from helpers.files import Hostile
from helpers.tooling import CONFIGS, QUICKEST, ROOT, assert_refused
from inimg_mm.engine.sharding import ShardedStrategy
from inimg_mm.errors import UsageError
from inimg_mm.launch import compiling, distributed, load_config, preflight, runs, schedules

pytest.importorskip('mmdet', reason='the tools launch the hosts (extra mm)')
pytest.importorskip('mmpretrain', reason='the tools launch the hosts (extra mm)')

LAUNCHED = (
    *(name for names in distributed.VARIABLES.values() for name in names),
    'MASTER_ADDR',
    'MASTER_PORT',
    'SLURM_JOB_NODELIST',
    'SLURM_NODELIST',
    'SLURM_JOB_ID',
)


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


@pytest.mark.parametrize(
    ('nodes', 'message'), [('gpu07', 'no scontrol, which says'), ('', 'no SLURM_JOB_NODELIST in the')]
)
def test_slurm_without_a_word_of_where_to_meet(launched, joined, monkeypatch, tmp_path, nodes, message):
    monkeypatch.setenv('PATH', str(tmp_path))
    launched(**{**TASK, 'SLURM_JOB_NODELIST': nodes})
    with pytest.raises(UsageError, match=f'{message}.*: set MASTER_ADDR'):
        distributed.join(Config(dict(launcher='slurm')))


# ---- what a run reads -----------------------------------------------------------------------------------


def test_weights_of_a_hosts_part_do_not_run(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(folder)
    target, path = tmp_path / 'created', tmp_path / 'head.pth'
    torch.save(dict(state_dict={'fc.bias': torch.ones(10)}, meta=Hostile(target)), path)
    options = ['model.head.init_cfg.type=Pretrained', f'model.head.init_cfg.checkpoint={path}']
    arguments = [CONFIGS[QUICKEST], '--work-dir', tmp_path / 'work', '--cfg-options', *options]
    assert_refused(monkeypatch, capsys, 'train.py', *arguments, message=[f'{path} is refused', '--trust'])
    assert not target.exists()
    cfg = Config(dict(model=dict(head=dict(init_cfg=[dict(type='Pretrained', checkpoint=str(path))]))))
    preflight.check_pretrained(cfg, trust=True)
    assert target.exists()


# ---- switches -------------------------------------------------------------------------------------------


def test_auto_scale_lr(monkeypatch, capsys):
    cfg = Config(dict(auto_scale_lr=dict(base_batch_size=16, enable=False)))
    schedules.scale_lr(cfg)
    assert cfg.auto_scale_lr == dict(base_batch_size=16, enable=True)
    refusal = dict(message='auto_scale_lr=dict(base_batch_size=…) in the config')
    assert_refused(monkeypatch, capsys, 'train.py', CONFIGS[QUICKEST], '--auto-scale-lr', **refusal)


def test_compile():
    cfg = Config(dict())
    compiling.use_compiler(cfg, 'eager')
    assert cfg.get('compile') == dict(backend='eager')
    cfg = Config(dict(compile=dict(backend='aot_eager', dynamic=False)))
    compiling.use_compiler(cfg)
    assert cfg.get('compile') == dict(backend='aot_eager', dynamic=False)
    compiling.use_compiler(cfg, 'eager')
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
    monkeypatch.setattr(compiling, 'get_device', lambda: 'cpu')
    with pytest.raises(UsageError, match=r'needs a C\+\+ compiler'):
        compiling.use_compiler(Config(dict()))
    monkeypatch.setattr(torch.utils._triton, 'has_triton', lambda: False)
    monkeypatch.setattr(compiling, 'get_device', lambda: 'cuda')
    with pytest.raises(UsageError, match='needs Triton'):
        compiling.use_compiler(Config(dict()))


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


def test_deepspeed_is_not_installed(launched, joined, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        'find_spec',
        lambda name, *rest: None if name == 'deepspeed' else find_spec(name, *rest),
    )
    launched(**TORCHRUN)
    with pytest.raises(UsageError, match=r"deepspeed, which is not installed: pip install 'deepspeed<0\.19'"):
        runs.build_runner(Config(dict(DEEPSPEED, default_scope='mmdet')), 'pytorch')


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
    root = ROOT / 'configs' / 'imagenet'
    cfg = load_config(root / 'se-r101-fsdp_32xb32_in1k.py')
    assert distributed.strategy_name(cfg) == 'FSDPStrategy'
    cfg = load_config(root / 'scnet101-deepspeed_4xb64_in1k.py')
    assert distributed.strategy_name(cfg) == 'DeepSpeedStrategy'
    assert cfg.optim_wrapper.keys() == {'type', 'optimizer'}  # all that DeepSpeedOptimWrapper takes
