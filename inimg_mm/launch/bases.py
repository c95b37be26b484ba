"""Bases of a config by the scope of this package: ``_base_ = 'inimg_mm::coco_detection/…'``."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from mmengine.config import Config

from inimg_mm.carried import home
from inimg_mm.errors import UsageError

SCOPE = 'inimg_mm::'


@contextmanager
def bases_by_scope() -> Iterator[None]:
    """Let mmengine find bases of this package by its scope while a config is read.

    mmengine knows the scopes of OpenMMLab's own packages, from a table, and looks for the bases of others
    beside the config. Under a host's own launch script these are not found.
    """
    own = Config._get_cfg_path

    def find(name: str, filename: str) -> tuple[str, str | None]:
        if not name.startswith(SCOPE):
            return own(name, filename)
        return str(base(name)), None

    # there is no public place for it: Config's method is asked for every base that a config names
    Config._get_cfg_path = staticmethod(find)
    try:
        yield
    finally:
        Config._get_cfg_path = staticmethod(own)


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
