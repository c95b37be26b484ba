"""Train and test a config of any host, thin over mmengine's Runner.

The host is the config's ``default_scope``. Mistakes are found before anything is built.
"""

from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from .configs import HOST_EXTRAS, OWN_DATA_OPTIONS, load_config
from .distributed import LAUNCHERS, join_over_gloo
from .errors import UsageError
from .preflight import check_checkpoint, check_data, check_fit
from .switches import draw_to, use_amp

__all__ = [
    'HOST_EXTRAS',
    'LAUNCHERS',
    'OWN_DATA_OPTIONS',
    'UsageError',
    'check_checkpoint',
    'check_data',
    'check_fit',
    'evaluate',
    'load_config',
    'train',
]


def train(
    cfg: Config,
    resume: str | None = None,
    amp: bool = False,
    launcher: str = 'none',
    trust: bool = False,
) -> None:
    """Train a config.

    Args:
        cfg: From :func:`load_config`; changed in place.
        resume: 'auto' goes on from the newest checkpoint of the work folder, if there is one;
            else the checkpoint to go on from.
        amp: Train with automatic mixed precision.
        launcher: What started this process: 'none', 'pytorch', 'slurm' or 'mpi'. Without an
            accelerator 'pytorch' trains over gloo.
        trust: Accept a checkpoint to go on from that needs unpickling.

    Raises:
        UsageError: If the data is missing, or the device cannot do what is asked.
        CheckpointError: If a checkpoint is missing, damaged, or would run code.
    """
    if amp:
        use_amp(cfg)
    if resume is not None:
        cfg.resume, cfg.load_from = True, None if resume == 'auto' else resume
    start = cfg.get('load_from') or (cfg.get('resume') and find_latest_checkpoint(cfg.work_dir))
    if start:
        check_checkpoint(start, trust)
    if start and not cfg.get('resume'):
        check_fit(cfg, start, trust, heads=False)
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    build_runner(cfg, launcher).train()


def evaluate(
    cfg: Config,
    checkpoint: str,
    show_dir: str | Path | None = None,
    launcher: str = 'none',
    trust: bool = False,
) -> dict[str, float]:
    """Test a checkpoint.

    Args:
        cfg: From :func:`load_config`; changed in place.
        checkpoint: File or URL of the checkpoint.
        show_dir: Folder for pictures with the predictions drawn; made if it is missing.
        launcher: As in :func:`train`.
        trust: Accept a checkpoint that needs unpickling.

    Returns:
        The metrics by name.

    Raises:
        UsageError: If the data is missing, or the host draws no pictures.
        CheckpointError: If the checkpoint is missing, damaged, or would run code.
    """
    check_checkpoint(checkpoint, trust)
    check_fit(cfg, checkpoint, trust)
    cfg.resume, cfg.load_from = False, checkpoint
    check_data(cfg, ('test_dataloader',))
    if show_dir is not None:
        draw_to(cfg, Path(show_dir).absolute())
    return build_runner(cfg, launcher).test()


def build_runner(cfg: Config, launcher: str) -> Runner:
    """Build the config's runner, in the process group of its launcher."""
    cfg.launcher = launcher
    if cfg.default_scope == 'mmpretrain':
        _fill_in_mmpretrain_loaders(cfg)
    if launcher != 'none' and get_device() == 'cpu':
        join_over_gloo(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _fill_in_mmpretrain_loaders(cfg: Config) -> None:
    """Give the loaders the defaults that mmpretrain's launch script gives them."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if loader := cfg.get(name):
            loader.setdefault('collate_fn', dict(type='default_collate'))
            loader.setdefault('pin_memory', get_device() != 'cpu')
            loader.setdefault('persistent_workers', loader.get('num_workers', 0) > 0)
