"""What is looked at before a run begins: the checkpoint that it reads, and its data."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from inimg_mm.checkpoints.reading import CheckpointError, local_file, read_file
from inimg_mm.nodes import datasets_of, nodes
from inimg_mm.registry import type_name

from .building import build_model, is_enough, is_pretrained, whole_fit
from .distributed import strategy_name
from .errors import UsageError


def check_checkpoint(source: str, trust: bool = False) -> None:
    """Read a checkpoint safely before mmengine reads it, which unpickles what it cannot read otherwise.

    Args:
        source: File or URL, or the folder that DeepSpeed writes.
        trust: Accept a file that needs unpickling.

    Raises:
        CheckpointError: If it is missing, damaged, or would run code.
    """
    with local_file(source) as path:
        for part in parts_of(path):
            read_file(part, trust)


def check_pretrained(cfg: Config, trust: bool = False) -> None:
    """Read safely what a config's ``init_cfg`` names: the hosts' own parts leave reading it to mmengine.

    Args:
        cfg: The config.
        trust: Accept files that need unpickling; ``trust=True`` beside a ``checkpoint`` accepts that one.

    Raises:
        CheckpointError: If one is missing, damaged, or would run code.
    """
    for node in nodes(cfg.get('model')):
        if is_pretrained(node) and node.get('checkpoint'):
            check_checkpoint(node['checkpoint'], trust or node.get('trust', False))


def parts_of(checkpoint: str | Path) -> list[Path]:
    """Files of a checkpoint: itself, or those in the folder that DeepSpeed writes.

    Raises:
        CheckpointError: If it is a folder without any.
    """
    path = Path(checkpoint)
    if not path.is_dir():
        return [path]
    parts = sorted(part for part in path.rglob('*') if part.suffix in ('.pt', '.pth'))
    if not parts:
        raise CheckpointError(f'{path} is a folder without the .pt or .pth files of a checkpoint')
    return parts


def check_fit(cfg: Config, checkpoint: str, trust: bool = False, heads: bool = True) -> None:
    """Refuse a checkpoint of another model, of which mmengine loads what it can and warns.

    Args:
        cfg: Config of the model.
        checkpoint: File or URL.
        trust: Unpickle whatever is in the file.
        heads: Whether all must fit, or the backbone is enough, as for training on other classes.

    Raises:
        UsageError: If too little fits, or the checkpoint is in shards that only resuming reads.
    """
    if Path(checkpoint).is_dir():
        raise UsageError(
            f'{checkpoint} is a folder of shards, which only --resume reads; zero_to_fp32.py, that DeepSpeed '
            'leaves in the work folder, makes one file of them'
        )
    fit, backbone = whole_fit(build_model(cfg), checkpoint, trust)
    if is_enough(fit) or (not heads and is_enough(backbone)):
        return
    raise UsageError(
        f'{checkpoint} is not of the model in this config: {fit}. '
        'A backbone alone, or one that gets gates, is loaded by '
        "model.backbone.init_cfg=dict(type='inimg_mm.Pretrained', …)"
    )


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


def check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Raise a :class:`UsageError` if data is not there.

    Args:
        cfg: The config.
        loaders: Names of the loaders whose folders and annotation files are looked for, and those of
            their evaluators.
    """
    for loader in loaders:
        for dataset in datasets_of((cfg.get(loader) or {}).get('dataset')):
            root = dataset.get('data_root') or ''
            annotations = os.path.join(root, dataset.get('ann_file') or '')
            for path in (root, annotations, dataset.get('bbox_file')):  # the last is mmpose's
                _check_there(loader, path)
        evaluator = loader.replace('dataloader', 'evaluator')
        for metric in nodes(cfg.get(evaluator) or {}):
            _check_there(evaluator, metric.get('ann_file'))


def _check_there(reader: str, path: str | None) -> None:
    if path and '://' not in path and not os.path.exists(path):
        hint = ' (tools/make_demo_data.py makes it)' if 'data/demo' in path else ''
        raise UsageError(f'the {reader} reads {path}, which is not there{hint}')
