"""A folder a class: which are classes, which files are their images."""

import functools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from inimg_mm.errors import UsageError

from .image_files import SUFFIXES

SYSTEM = ('__MACOSX', '__pycache__', '@eaDir', '$RECYCLE.BIN', 'lost+found')
"""Folders that systems and archivers leave, beside those that begin with a dot."""


class ClassFolder(NamedTuple):
    """A folder of classes.

    Attributes:
        images: The images of each class, relative to the folder, sorted; the classes too.
        others: How many files are left out by suffix.
        loose: How many images lie beside the folders, and belong to no class.
    """

    images: dict[str, list[str]]
    others: Counter[str]
    loose: int


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none that a person put there."""
    return name.startswith('.') or name in SYSTEM


def is_image(name: str) -> bool:
    """Whether a file is taken for an image by its name, as inference does."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not is_hidden(name)


def files_below(folder: str | Path) -> Iterator[str]:
    """Files in a folder and those below that are not hidden, relative to it, sorted within each folder."""
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        below = os.path.relpath(root, folder)
        for name in sorted(files):
            if not is_hidden(name):
                yield name if below == os.curdir else os.path.join(below, name)


def read_class_folders(folder: str | Path) -> ClassFolder:
    """List the classes of a folder with their images; hidden folders are no classes, hidden files no images.

    Raises:
        UsageError: If it is no folder, or cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(entry.name for entry in found if not is_hidden(entry.name))
    except OSError as error:
        raise UsageError(f'{folder} cannot be read: {error.strerror or error}') from error
    places = [os.path.join(folder, name) for name in entries]
    return _read(os.path.abspath(folder), tuple(entries), tuple(os.lstat(p).st_mtime_ns for p in places))


@functools.lru_cache(4)
def _read(folder: str, entries: tuple[str, ...], times: tuple[int, ...]) -> ClassFolder:
    """List a folder, once as long as the same is in it."""
    images: dict[str, list[str]] = {}
    others: Counter[str] = Counter()
    loose = 0
    for name in entries:
        place = os.path.join(folder, name)
        if not os.path.isdir(place):
            loose += is_image(name)
            continue
        images[name] = []
        for file in files_below(place):
            if is_image(file):
                images[name].append(os.path.join(name, file))
            else:
                others[os.path.splitext(file)[1].lower() or 'no suffix'] += 1
    return ClassFolder(images, others, loose)


def told(found: ClassFolder) -> str:
    """What is not used of a folder of classes; '' if all is."""
    loose = [f'{found.loose} images that lie in no class folder'] if found.loose else []
    return ', '.join([*by_suffix(found.others), *loose])


def by_suffix(others: Counter[str]) -> list[str]:
    """Files that are left out, as words."""
    return [f'{count} files with {suffix}' for suffix, count in others.most_common()]
