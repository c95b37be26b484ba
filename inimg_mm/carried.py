"""Where the configs and tools that came with the package are."""

from pathlib import Path

from inimg_mm.errors import UsageError

PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """The folder that holds ``configs/`` and ``tools/``: ``.mim`` of a wheel, else the checkout.

    Raises:
        UsageError: If there are no configs in either.
    """
    for folder in (PACKAGE / '.mim', PACKAGE.parent):
        if (folder / 'configs').is_dir():
            return folder
    raise UsageError(f'this installation has no configs, neither in {PACKAGE}/.mim nor beside {PACKAGE}')
