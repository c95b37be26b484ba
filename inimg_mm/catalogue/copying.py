"""Write a config of the catalogue so that a user can edit it."""

import inspect
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from inimg_mm import __version__
from inimg_mm.errors import UsageError
from inimg_mm.launch.configs import load_config
from inimg_mm.output_files import check_output, write_text

from . import Entry, home

READ_BY_LAUNCHERS = ('auto_scale_lr', 'find_unused_parameters', 'runner_type', 'strategy', 'sync_bn')
READ_BY_RUNNERS = {
    name for runner in (Runner, FlexibleRunner) for name in inspect.signature(runner).parameters
}


def copy_config(entry: Entry, dest: Path, force: bool = False) -> Path:
    """Write a config in one piece: nothing of the package need lie beside it.

    Args:
        entry: The config.
        dest: File, or folder for a file of the config's own name.
        force: Overwrite a file.

    Returns:
        The file.

    Raises:
        UsageError: If the file is there already, is no ``.py`` file, has no folder or cannot be
            written, or if the config's host is not installed.
    """
    if dest.is_dir():
        dest /= f'{entry.name}.py'
    if dest.suffix != '.py':
        raise UsageError(f'a config is a .py file, and {dest} is none')
    if not dest.parent.is_dir():
        raise UsageError(f'there is no folder {dest.parent}')
    if dest.exists() and not force:
        raise UsageError(f'{dest} is there already: choose another name, or --force overwrites it')
    check_output(dest)
    settings = load_config(entry.path).to_dict()
    settings = _without_leftovers(_without_scope(settings, settings['default_scope']))
    settings.pop('work_dir')  # load_config's, which goes by the file's name
    head = f'# {entry.id} of inimg_mm {__version__}, with all that it inherits.\n'
    write_text(dest, [head, Config(settings).pretty_text])
    return dest


def next_steps(entry: Entry, config: Path) -> list[str]:
    """The commands with which one goes on from a config: check, train, test."""
    tools = home() / 'tools'
    if tools.is_relative_to(Path.cwd()):
        tools = tools.relative_to(Path.cwd())
    last = f'{"epoch" if entry.unit == "epochs" else "iter"}_{entry.length}.pth'
    return [
        f'python {tools}/check_config.py {config}',
        f'python {tools}/train.py {config}',
        f'python {tools}/test.py {config} work_dirs/{config.stem}/{last}',
    ]


def _without_scope(node: Any, scope: str) -> Any:
    """Leave out mmengine's notes of where a base is from, where that is the config's own host."""
    if isinstance(node, dict):
        return {
            key: _without_scope(value, scope)
            for key, value in node.items()
            if (key, value) != ('_scope_', scope)
        }
    return (
        type(node)(_without_scope(child, scope) for child in node) if isinstance(node, list | tuple) else node
    )


def _without_leftovers(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out the variables from which a config was made, whose values stand where they are used."""
    return {
        key: value
        for key, value in settings.items()
        if key in READ_BY_RUNNERS
        or key in READ_BY_LAUNCHERS
        or not any(_holds(other, value) for name, other in settings.items() if name != key)
    }


def _holds(node: Any, value: Any) -> bool:
    """Whether a value stands somewhere inside a nested setting."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return any(child == value or _holds(child, value) for child in children)
