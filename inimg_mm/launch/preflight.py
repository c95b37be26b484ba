"""What is looked at before a run begins: the checkpoint that it reads, and its data."""

import importlib.util
from pathlib import Path

from mmengine.config import Config

from inimg_mm.checkpoints.reading import Opened, open_checkpoint
from inimg_mm.checkpoints.resumable import IN_FOLDERS, newest_checkpoint, open_resumable
from inimg_mm.config_tree import is_pretrained, nodes, strategy_name, type_name
from inimg_mm.errors import CheckpointError, UsageError


def check_pretrained(cfg: Config, trust: bool = False) -> None:
    """Read safely what a config's ``init_cfg`` names: the hosts' own parts leave reading it to mmengine.

    Args:
        cfg: The config.
        trust: Accept files that need unpickling; ``trust=True`` beside a ``checkpoint`` accepts that one.

    Raises:
        CheckpointError: If one is missing, damaged, or would run code.
    """
    named = {
        (node['checkpoint'], trust or node.get('trust', False)): None
        for node in nodes(cfg.get('model'))
        if is_pretrained(node) and node.get('checkpoint')
    }
    for checkpoint, trusted in named:
        open_checkpoint(checkpoint, trusted)


def check_strategy(cfg: Config) -> None:
    """Raise a :class:`UsageError` for what mmengine's FlexibleRunner or DeepSpeed would leave undone."""
    strategy = strategy_name(cfg)
    if strategy is None:
        return
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    if any(type_name(hook or {}) == 'EMAHook' for hook in hooks):
        raise UsageError('EMAHook neither resumes nor starts from weights in a FlexibleRunner: take it out')
    if cfg.get('compile'):
        raise UsageError("nothing is compiled in a FlexibleRunner, which does not read the config's compile")
    if strategy == 'DeepSpeedStrategy' and (cfg.get('auto_scale_lr') or {}).get('enable'):
        raise UsageError('DeepSpeedStrategy does not scale the learning rate: set optim_wrapper.optimizer.lr')


def check_deepspeed(cfg: Config) -> None:
    """Raise a :class:`UsageError` if the config trains by DeepSpeed, and that is not installed."""
    if strategy_name(cfg) == 'DeepSpeedStrategy' and importlib.util.find_spec('deepspeed') is None:
        raise UsageError(
            "DeepSpeedStrategy needs deepspeed, which is not installed: pip install 'deepspeed<0.19'"
        )


def starting_point(cfg: Config, trust: bool = False) -> Opened | None:
    """The checkpoint that a config's training starts or goes on from, read and found sound.

    Args:
        cfg: The config; ``load_from`` names the checkpoint, ``resume=True`` alone means the newest.
        trust: Accept a checkpoint that needs unpickling.

    Returns:
        The checkpoint; None if the training starts from nothing.

    Raises:
        CheckpointError: If it is missing, damaged, refused, or holds nothing to go on from.
    """
    named = cfg.get('load_from')
    if not cfg.get('resume'):
        return open_checkpoint(named, trust) if named else None
    if not named:
        return newest_checkpoint(cfg.work_dir, trust)
    if Path(named).is_dir() and strategy_name(cfg) not in IN_FOLDERS:
        raise CheckpointError(f'{named} is a folder: name a checkpoint in it to go on from')
    return open_resumable(named, trust)
