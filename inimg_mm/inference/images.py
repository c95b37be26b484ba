"""Which images are meant, where their pictures go, and whether they can be read."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from inimg_mm.errors import UsageError

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
"""Of the files that are taken from a folder; a file that is named is tried whatever its name."""

WRITTEN = ('.bmp', '.jpeg', '.jpg', '.png', '.webp')
"""Suffixes that a picture keeps; it has ``.png`` after another."""


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


def common_folder(images: Sequence[Path]) -> Path:
    """The deepest folder that all images are in or below."""
    return Path(os.path.commonpath([image.parent for image in images]))


def picture_paths(images: Sequence[Path], out_dir: Path) -> list[Path]:
    """Where each image's picture goes: below ``out_dir`` as the image is below the common folder.

    Raises:
        UsageError: If a picture would take the place of an image.
    """
    root = common_folder(images)
    pictures = []
    for image in images:
        name = image.relative_to(root)
        kept = name.suffix.lower() in WRITTEN
        pictures.append(out_dir / (name if kept else name.with_name(f'{name.name}.png')))
    originals = {image.resolve() for image in images}
    for picture in pictures:
        if picture.resolve() in originals:
            raise UsageError(
                f'in {out_dir} the picture would overwrite its image {picture}: choose another folder'
            )
    return pictures
