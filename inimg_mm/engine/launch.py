"""Load, train and test a config of any host, thin over mmengine's Runner.

The host is the config's ``default_scope``. What the hosts' own launch scripts do differently
stands here in tables; mistakes are found before anything is built.
"""

import importlib.util
import inspect
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from inimg_mm.checkpoints.reading import local_file, read_file
from inimg_mm.datasets import own_data

from .building import build_model, is_enough, whole_fit

HOST_EXTRAS = {'mmdet': 'mm', 'mmpretrain': 'mm', 'mmpose': 'pose', 'mmseg': 'seg'}
"""The extra of this package that installs each host."""

AMP_DEVICES = ('cuda', 'npu', 'mlu', 'musa')
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
OWN_DATA_OPTIONS = tuple(inspect.signature(own_data).parameters)[3:]
"""Options of :func:`inimg_mm.datasets.own_data` beside the data root and the classes."""


class UsageError(ValueError):
    """A mistake of the caller's, said in one sentence."""


def load_config(
    path: str | Path,
    cfg_options: dict[str, Any] | None = None,
    work_dir: str | Path | None = None,
    data_root: str | Path | None = None,
    classes: Sequence[str] | None = None,
    data_options: dict[str, Any] | None = None,
) -> Config:
    """Read a config and apply what the command line says.

    Args:
        path: The config file.
        cfg_options: Values by dotted key, merged last.
        work_dir: Folder of logs and checkpoints. Default: the config's ``work_dir``, or
            ``work_dirs/<name of the config>``.
        data_root: Train and test on the data in this folder, see :func:`inimg_mm.datasets.own_data`.
        classes: Its ``classes``.
        data_options: Its other options, by name.

    Raises:
        UsageError: If the file is missing, the host is unknown or not installed, or an option of
            the data is unknown or goes without ``data_root``.
        ValueError: If the data does not fit, see :func:`inimg_mm.datasets.own_data`.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f'there is no config file {path}')
    try:
        cfg = Config.fromfile(path)
    except ModuleNotFoundError as error:  # of a `_base_ = 'host::…'`
        for host in HOST_EXTRAS:
            if host in str(error):
                _check_host(host, path)
        raise
    if not cfg.get('default_scope'):
        raise UsageError(
            f'{path} sets no default_scope, so its host is unknown: set it to one of {list(HOST_EXTRAS)}, '
            "or inherit from a host's default_runtime.py"
        )
    _check_host(cfg.default_scope, path)
    if data_root is not None:
        _check_data_options(data_options or {})
        own_data(cfg, str(data_root), classes, **(data_options or {}))
    elif classes or data_options:
        raise UsageError('--classes and --data-options describe the data in --data-root, which is not given')
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs', path.stem))
    cfg.merge_from_dict(cfg_options or {})
    return cfg


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
        _use_amp(cfg)
    if resume is not None:
        cfg.resume, cfg.load_from = True, None if resume == 'auto' else resume
    start = cfg.get('load_from') or (cfg.get('resume') and find_latest_checkpoint(cfg.work_dir))
    if start:
        check_checkpoint(start, trust)
    if start and not cfg.get('resume'):
        check_fit(cfg, start, trust, heads=False)
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    _build_runner(cfg, launcher).train()


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
        _draw_to(cfg, Path(show_dir).absolute())
    return _build_runner(cfg, launcher).test()


def check_checkpoint(source: str, trust: bool = False) -> None:
    """Read a checkpoint safely before mmengine reads it, which unpickles what it cannot read otherwise.

    Args:
        source: File or URL.
        trust: Accept a file that needs unpickling.

    Raises:
        CheckpointError: If it is missing, damaged, or would run code.
    """
    with local_file(source) as path:
        read_file(path, trust)


def check_fit(cfg: Config, checkpoint: str, trust: bool = False, heads: bool = True) -> None:
    """Refuse a checkpoint of another model, of which mmengine loads what it can and warns.

    Args:
        cfg: Config of the model.
        checkpoint: File or URL.
        trust: Unpickle whatever is in the file.
        heads: Whether all must fit, or the backbone is enough, as for training on other classes.

    Raises:
        UsageError: If too little fits.
    """
    fit, backbone = whole_fit(build_model(cfg), checkpoint, trust)
    if is_enough(fit) or (not heads and is_enough(backbone)):
        return
    raise UsageError(
        f'{checkpoint} is not of the model in this config: {fit}. '
        'A backbone alone, or one that gets gates, is loaded by '
        "model.backbone.init_cfg=dict(type='inimg_mm.Pretrained', …)"
    )


def check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Raise a :class:`UsageError` if a folder or annotation file of the loaders' data is not there."""
    for loader in loaders:
        for dataset in _datasets((cfg.get(loader) or {}).get('dataset')):
            root = dataset.get('data_root') or ''
            for path in (root, os.path.join(root, dataset.get('ann_file') or '')):
                if path and '://' not in path and not os.path.exists(path):
                    hint = ' (tools/make_demo_data.py makes it)' if 'data/demo' in path else ''
                    raise UsageError(f'the {loader} reads {path}, which is not there{hint}')


def _check_host(scope: str, config: Path) -> None:
    if importlib.util.find_spec(scope) is None:
        extra = HOST_EXTRAS.get(scope)
        remedy = f": pip install 'inimg-mm[{extra}]'" if extra else ''
        raise UsageError(f'{config} needs {scope}, which is not installed{remedy}')


def _check_data_options(options: dict[str, Any]) -> None:
    for name in options:
        if name not in OWN_DATA_OPTIONS:
            raise UsageError(f'--data-options has no {name!r}; choose from {list(OWN_DATA_OPTIONS)}')


def _datasets(node: Any) -> Iterator[dict[str, Any]]:
    """The innermost datasets, behind wrappers that have a ``dataset`` or ``datasets``."""
    if isinstance(node, list | tuple):
        for child in node:
            yield from _datasets(child)
    elif isinstance(node, dict):
        inner = node.get('dataset') or node.get('datasets')
        yield from _datasets(inner) if inner else [node]


def _use_amp(cfg: Config) -> None:
    if get_device() not in AMP_DEVICES:
        raise UsageError(f'--amp needs an accelerator ({", ".join(AMP_DEVICES)}), and this machine has none')
    wrapper = cfg.optim_wrapper
    if wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UsageError(f'--amp takes the place of OptimWrapper, and the config has a {wrapper.type}')
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


def _draw_to(cfg: Config, folder: Path) -> None:
    """Have the host's visualisation hook draw every test image into ``folder``."""
    out = str(folder)
    hooks = {
        'mmdet': dict(type='DetVisualizationHook', draw=True, test_out_dir=out),
        'mmpretrain': dict(type='VisualizationHook', enable=True, interval=1, out_dir=out),
        'mmpose': dict(type='PoseVisualizationHook', enable=True, out_dir=out),
        'mmseg': dict(type='SegVisualizationHook', draw=True),
    }
    visualizers = {'mmseg': dict(save_dir=out, vis_backends=[dict(type='LocalVisBackend')])}
    scope = cfg.default_scope
    if scope not in hooks:
        raise UsageError(f'--show-dir knows how {", ".join(hooks)} draw, and not {scope}')
    folder.mkdir(parents=True, exist_ok=True)
    configured = cfg.get('default_hooks', {}).get('visualization', {})
    cfg.merge_from_dict(
        {
            'default_hooks.visualization': {
                **hooks[scope],
                'type': configured.get('type', hooks[scope]['type']),
            },
            'visualizer': visualizers.get(scope, {}),
        }
    )


def _build_runner(cfg: Config, launcher: str) -> Runner:
    cfg.launcher = launcher
    if cfg.default_scope == 'mmpretrain':
        _fill_in_mmpretrain_loaders(cfg)
    if launcher != 'none' and get_device() == 'cpu':
        _join_over_gloo(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _fill_in_mmpretrain_loaders(cfg: Config) -> None:
    """Give the loaders the defaults that mmpretrain's launch script gives them."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if loader := cfg.get(name):
            loader.setdefault('collate_fn', dict(type='default_collate'))
            loader.setdefault('pin_memory', get_device() != 'cpu')
            loader.setdefault('persistent_workers', loader.get('num_workers', 0) > 0)


def _join_over_gloo(cfg: Config) -> None:
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
