"""Read a config of any host and apply what the command line says."""

import importlib.util
import inspect
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from inimg_mm.datasets import own_data
from inimg_mm.errors import UsageError
from inimg_mm.host_facts import HOSTS

from .bases import bases_by_scope

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
        UsageError: If the file is missing, cannot be read or has no model, the host is unknown or not
            installed, an option does not fit the config, or one of the data is unknown or goes without
            ``data_root``.
        UsageError: If the data does not fit, see :func:`inimg_mm.datasets.own_data`.
    """
    path = Path(path)
    cfg = _read(path)
    if not cfg.get('default_scope'):
        raise UsageError(
            f'{path} sets no default_scope, so its host is unknown: set it to one of {list(HOSTS)}, '
            "or inherit from a host's default_runtime.py"
        )
    _check_host(cfg.default_scope, path)
    if not isinstance(cfg.get('model'), dict):
        raise UsageError(f'{path} has no model: model=dict(type=…)')
    if data_root is not None:
        _check_data_options(data_options or {})
        own_data(cfg, str(data_root), classes, **(data_options or {}))
    elif classes or data_options:
        raise UsageError('--classes and --data-options describe the data in --data-root, which is not given')
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs', path.stem))
    try:
        cfg.merge_from_dict(cfg_options or {})
    except (KeyError, TypeError) as error:  # no such place in a list, or a dict over what is none
        raise UsageError(f'the options do not fit {path}: {error.args[0]}') from error
    _check_host(cfg.default_scope, path)
    return cfg


def _read(path: Path) -> Config:
    if not path.is_file():
        raise UsageError(f'there is no config file {path}')
    try:
        with bases_by_scope():
            return Config.fromfile(path)
    except Exception as error:  # a config is a program, which can do anything wrong
        if isinstance(error, UsageError):  # own_data's, in the config
            raise
        if isinstance(error, ModuleNotFoundError):  # of a `_base_ = 'host::…'`
            for host in HOSTS:
                if host in str(error):
                    _check_host(host, path)
        message = ' '.join(str(error).split())
        without_base = ''
        if isinstance(error, RuntimeError) and not message:  # mmengine's, of a LazyObject that is called
            without_base = (
                'a config that imports and has no _base_ is pure Python, in which mmengine calls nothing'
            )
        elif isinstance(error, NameError) and error.name == '_base_':
            without_base = message
        if without_base:
            message = (
                f'{without_base}. Call own_data in a config of its own: '
                f"_base_ = '{path.name}', then own_data(_base_, …)"
            )
        raise UsageError(
            f'{path} cannot be read: {type(error).__name__}: {message}{_line_of(error)}'
        ) from error


def _line_of(error: Exception) -> str:
    """Which line of a config, or of one of its bases, an error is from, where that is known."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.name == '<module>':  # mmengine runs them as such
            return f' (line {frame.lineno} of {frame.filename})'
    return ''


def _check_host(scope: str, config: Path) -> None:
    if importlib.util.find_spec(scope) is None:
        remedy = (
            f"pip install 'inimg-mm[{HOSTS[scope].extra}]'" if scope in HOSTS else f'hosts are {list(HOSTS)}'
        )
        raise UsageError(f'{config} needs {scope}, which is not installed: {remedy}')


def _check_data_options(options: dict[str, Any]) -> None:
    for name in options:
        if name not in OWN_DATA_OPTIONS:
            raise UsageError(f'--data-options has no {name!r}; choose from {list(OWN_DATA_OPTIONS)}')
