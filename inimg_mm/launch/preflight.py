"""What is looked at before a run begins: the checkpoint that it reads, and its data."""

import importlib.util
import logging
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from inimg_mm.checking.findings import OK, Finding
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
    takes_folders = strategy_name(cfg) in IN_FOLDERS
    if not named:
        start = newest_checkpoint(cfg.work_dir, trust)
    elif takes_folders or not Path(named).is_dir():
        start = open_resumable(named, trust)
    else:
        start = Opened(named, None)
    if start and start.in_parts and not takes_folders:
        raise CheckpointError(f'{start.source} is a folder: name a checkpoint in it to go on from')
    return start


def tell(findings: Iterable[Finding]) -> None:
    """Warn of what a check found that is not as it should be."""
    for finding in findings:
        if finding.state is not OK:
            remedy = f': write {finding.remedy}' if finding.remedy else ''
            print_log(f'{finding.text}{remedy}', 'current', logging.WARNING)


def require(findings: Iterable[Finding]) -> None:
    """Raise a :class:`UsageError` of the faults that a check found; warn of the rest."""
    findings = list(findings)
    if faults := [finding for finding in findings if finding.fault]:
        remedies = ' '.join(finding.remedy for finding in faults)
        raise UsageError(f'{"; ".join(finding.text for finding in faults)}: --cfg-options {remedies}')
    tell(findings)
