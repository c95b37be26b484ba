"""The process group of a run: mmengine's own start on accelerators, gloo on a CPU."""

import datetime
import logging
import os
import shutil
import subprocess
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log

from inimg_mm.config_tree import SYNC_NORMS, nodes, strategy_name, type_name
from inimg_mm.errors import UsageError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
"""What may have started the processes of a run."""

STARTERS = {
    'pytorch': 'torchrun (tools/dist_train.sh)',
    'slurm': 'srun (tools/slurm_train.sh)',
    'mpi': "Open MPI's mpirun",
}
VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
"""Where each launcher says the process's rank, the number of processes, and its rank on this machine."""

SHARDING = ('FSDPStrategy', 'ShardedStrategy', 'DeepSpeedStrategy', 'ColossalAIStrategy')
"""mmengine's strategies, and ours, that spread one model over the processes."""

PORTS = range(20000, 30000)
"""Where the processes of Slurm jobs meet, a port a job."""

MMENGINES_OWN = ('backend', 'init_backend', 'port')
"""Keys of ``env_cfg.dist_cfg`` that say how mmengine starts a group; the others go to torch."""


def join(cfg: Config) -> None:
    """Prepare the process group of ``cfg.launcher``; without an accelerator start it, over gloo.

    On an accelerator mmengine starts the group when the runner is built. On a CPU that would ask for
    CUDA, so the group is there before, and the config's model wrapper is told that there are no devices.

    Args:
        cfg: Changed in place. ``env_cfg.dist_cfg.timeout`` is how long to wait for a silent process, in
            seconds (torch's default: 30 minutes for gloo).

    Raises:
        UsageError: If the launcher did not start this process, or there are more processes than devices.
    """
    if cfg.launcher == 'none':
        if is_sharded(cfg):
            raise UsageError(
                f'{strategy_name(cfg)} needs a launcher, for one process too: tools/dist_train.sh CONFIG 1'
            )
        return
    missing = [name for name in VARIABLES[cfg.launcher] if name not in os.environ]
    if missing:
        raise UsageError(
            f'--launcher {cfg.launcher} finds no {", ".join(missing)} in the environment: start it with '
            f'{STARTERS[cfg.launcher]}'
        )
    rank, world_size, local_rank = (os.environ[name] for name in VARIABLES[cfg.launcher])
    options = dict((cfg.get('env_cfg') or {}).get('dist_cfg') or {})
    os.environ.update(RANK=rank, WORLD_SIZE=world_size, LOCAL_RANK=local_rank)
    if cfg.launcher == 'slurm':
        _meet_under_slurm(options.get('port'))
    elif 'MASTER_ADDR' not in os.environ:
        raise UsageError(f'--launcher {cfg.launcher} needs MASTER_ADDR, the address of the first machine')
    os.environ.setdefault('MASTER_PORT', '29500')
    if get_device() == 'cuda' and int(local_rank) >= torch.cuda.device_count():
        raise UsageError(
            f'process {local_rank} of this machine has no GPU: it shows {torch.cuda.device_count()}, '
            'and each process takes one'
        )
    if get_device() == 'cpu':
        _join_over_gloo(options)
        _keep_norms_apart(cfg)
        _wrap_without_devices(cfg)


def use_plain_norms(cfg: Config) -> None:
    """Take plain norms where a model's are synchronised and there is no GPU, on which alone those run."""
    if get_device() != 'cpu':
        return
    found = [node for node in nodes(cfg.get('model')) if type_name(node) in SYNC_NORMS]
    for node in found:
        node['type'] = 'BN'
    if found:
        print_log(
            f'{len(found)} synchronised norms need GPUs: here they are plain ones (BN), of the same weights',
            'current',
            logging.WARNING,
        )


def is_sharded(cfg: Config) -> bool:
    """Whether a config trains by a strategy that spreads the model over processes."""
    return strategy_name(cfg) in SHARDING


def without_shards(cfg: Config) -> None:
    """Have one process test what was trained in shards: a whole checkpoint needs no strategy."""
    if is_sharded(cfg):
        cfg.pop('runner_type'), cfg.pop('strategy')


def _meet_under_slurm(port: int | None) -> None:
    """Say where the first process of the job listens, unless that is said already."""
    if 'MASTER_ADDR' not in os.environ:
        nodes = os.environ.get('SLURM_JOB_NODELIST') or os.environ.get('SLURM_NODELIST')
        if not nodes or not shutil.which('scontrol'):
            missing = 'no scontrol' if nodes else 'no SLURM_JOB_NODELIST in the environment'
            raise UsageError(f'{missing}, which says what the first machine is: set MASTER_ADDR')
        hosts = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True)
        if hosts.returncode or not hosts.stdout.split():
            raise UsageError(f'scontrol does not know the hosts of {nodes}: {hosts.stderr.strip()}')
        os.environ['MASTER_ADDR'] = hosts.stdout.split()[0]
    job = int(os.environ.get('SLURM_JOB_ID', '0'))
    os.environ.setdefault('MASTER_PORT', str(port or PORTS[job % len(PORTS)]))


def _join_over_gloo(options: dict[str, Any]) -> None:
    options = {name: value for name, value in options.items() if name not in MMENGINES_OWN}
    if options.get('timeout') is not None:
        options['timeout'] = datetime.timedelta(seconds=options['timeout'])
    torch.distributed.init_process_group('gloo', **options)


def _keep_norms_apart(cfg: Config) -> None:
    """Drop ``sync_bn``: synchronised norms do not run on a CPU."""
    for settings in (cfg, cfg.get('strategy') or {}):
        if settings.get('sync_bn'):
            print_log(
                f'sync_bn={settings["sync_bn"]!r} needs GPUs: here each process has norms of its own',
                logger='current',
                level=logging.WARNING,
            )
            settings['sync_bn'] = None


def _wrap_without_devices(cfg: Config) -> None:
    if strategy_name(cfg) is None:
        cfg.model_wrapper_cfg = _data_parallel(cfg, cfg.get('model_wrapper_cfg'))
        return
    if not cfg.get('strategy'):
        cfg.strategy = dict(type='DDPStrategy')
    if strategy_name(cfg) == 'DDPStrategy':
        cfg.strategy.model_wrapper = _data_parallel(cfg, cfg.strategy.get('model_wrapper'))


def _data_parallel(cfg: Config, wrapper: dict[str, Any] | None) -> dict[str, Any]:
    return dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    ) | {**(wrapper or {}), 'device_ids': None}
