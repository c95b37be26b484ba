"""Read a config of any host and apply what the command line says."""

import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from inimg_mm.datasets import own_data

from .errors import UsageError

HOST_EXTRAS = {'mmdet': 'mm', 'mmpretrain': 'mm', 'mmpose': 'pose', 'mmseg': 'seg'}
"""The extra of this package that installs each host."""

OWN_DATA_OPTIONS = tuple(inspect.signature(own_data).parameters)[3:]
"""Options of :func:`inimg_mm.datasets.own_data` beside the data root and the classes."""


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


def _check_host(scope: str, config: Path) -> None:
    if importlib.util.find_spec(scope) is None:
        extra = HOST_EXTRAS.get(scope)
        remedy = f": pip install 'inimg-mm[{extra}]'" if extra else ''
        raise UsageError(f'{config} needs {scope}, which is not installed{remedy}')


def _check_data_options(options: dict[str, Any]) -> None:
    for name in options:
        if name not in OWN_DATA_OPTIONS:
            raise UsageError(f'--data-options has no {name!r}; choose from {list(OWN_DATA_OPTIONS)}')
