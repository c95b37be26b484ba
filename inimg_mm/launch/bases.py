"""Bases of a config by the scope of this package: ``_base_ = 'inimg_mm::coco_detection/…'``."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from mmengine.config import Config

from inimg_mm.carried import home
from inimg_mm.errors import UsageError

SCOPE = 'inimg_mm::'
_FIND = Config._get_cfg_path


@contextmanager
def bases_by_scope() -> Iterator[None]:
    """Let mmengine find bases of this package by its scope while a config is read.

    mmengine knows the scopes of OpenMMLab's own packages, from a table, and looks for the bases of others
    beside the config. Under a host's own launch script these are not found.
    """

    def find(name: str, filename: str) -> tuple[str, str | None]:
        if name.startswith(SCOPE):
            return str(base(name)), None
        return _of_host(name) if '::' in name else _FIND(name, filename)

    # there is no public place for it: Config's method is asked for every base that a config names
    Config._get_cfg_path = staticmethod(find)
    try:
        yield
    finally:
        Config._get_cfg_path = staticmethod(_FIND)


@cache
def _of_host(name: str) -> tuple[str, str | None]:
    """What mmengine finds, which reads all metafiles of the host for each name."""
    return _FIND(name, '')


def base(name: str) -> Path:
    """The file of a base, 'inimg_mm::TASK/NAME' with or without '.py'.

    Raises:
        UsageError: If there is none; close names are named.
    """
    folder = home() / 'configs'
    path = folder / f'{name.removeprefix(SCOPE).removesuffix(".py")}.py'
    if not path.is_file():
        known = [str(other.relative_to(folder).with_suffix('')) for other in sorted(folder.rglob('*.py'))]
        near = get_close_matches(str(path.relative_to(folder).with_suffix('')), known, n=3)
        raise UsageError(
            f'there is no base {name}; '
            + (
                f'near it: {", ".join(SCOPE + other for other in near)}'
                if near
                else 'python -m inimg_mm configs'
            )
        )
    return path
