"""Which images are meant."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from inimg_mm.data_files.image_files import SUFFIXES
from inimg_mm.errors import UsageError


def find_images(sources: Iterable[str | Path], leave_out: Path) -> list[Path]:
    """List the images that files, folders and patterns name.

    Args:
        sources: Files; folders, whose images are taken with those of their subfolders; patterns as in a
            shell, ``**`` for any subfolders. They keep this order; what one stands for is sorted.
        leave_out: Folder whose files are not taken, unless they are named.

    Returns:
        Absolute paths, each once.

    Raises:
        UsageError: If one stands for no image.
    """
    found: dict[Path, None] = {}
    files: Iterable[Path]
    for source in map(str, sources):
        path = Path(os.path.abspath(source))
        if path.is_file():
            found[path] = None
            continue
        if path.is_dir():
            files, what = path.rglob('*'), f'the folder {source} has no image ({", ".join(SUFFIXES)})'
        elif glob.has_magic(source):
            files = map(Path, glob.glob(source, recursive=True))
            what = f'no image matches {source!r}'
        else:
            raise UsageError(f'there is no image or folder {source}')
        images = sorted(
            Path(os.path.abspath(file))
            for file in files
            if file.suffix.lower() in SUFFIXES and file.is_file()
        )
        taken = [image for image in images if not image.is_relative_to(leave_out)]
        if images and not taken:
            raise UsageError(
                f'all images of {source} are in {leave_out}, where the pictures go: choose another'
            )
        if not taken:
            raise UsageError(what)
        found.update(dict.fromkeys(taken))
    return list(found)
