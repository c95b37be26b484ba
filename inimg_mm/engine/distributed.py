"""The process group of a run: mmengine's own start on accelerators, gloo on a CPU."""

import os

import torch
from mmengine.config import Config

from .errors import UsageError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
"""What may have started the processes of a run."""


def join_over_gloo(cfg: Config) -> None:
    """Start the process group on a CPU, where mmengine's own start asks for CUDA."""
    if cfg.launcher != 'pytorch' or 'RANK' not in os.environ:
        raise UsageError(
            'without an accelerator several processes train only with --launcher pytorch under torchrun'
        )
    torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
        **{**(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None},
    )
