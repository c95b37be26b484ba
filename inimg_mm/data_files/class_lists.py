"""Lists and folders of classes, as mmpretrain's data sets read them."""

import logging
import os
from collections import Counter
from functools import cache
from pathlib import Path

from mmengine.logging import print_log

from inimg_mm.config_tree import Node, type_name
from inimg_mm.errors import AnnotationError

from .class_folders import is_hidden, read_class_folders, told
from .image_files import SUFFIXES

CLASS_LISTS = ('CustomDataset', 'ImageNet', 'ClassFolders')
"""Data sets with a list of images and classes, or a folder a class; the last is ours."""

FOLDERS = ('CustomDataset', 'ClassFolders')
"""Those that have a folder a class without a list."""

READ = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')
"""Suffixes of the images that mmpretrain's reads unless it is told others."""


def check_class_list(path: Path, with_label: bool) -> None:
    """Look through mmpretrain's text files: a name a line, with the number of its class.

    Raises:
        AnnotationError: If a line is not that.
    """
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError(f'the list {path} cannot be read: {error}') from error
    for number, line in enumerate(lines, start=1):
        name, _, label = line.strip().rpartition(' ')
        if with_label and not (name and label.isdecimal()):
            raise AnnotationError(
                f'line {number} of {path} is not a name and the number of a class: {line[:80]!r}'
            )


def labels_in_list(dataset: Node) -> int:
    """How many classes the list of a data set numbers: one more than its highest; 0 where there is none."""
    root, file = dataset.get('data_root') or '', dataset.get('ann_file') or ''
    if not file and dataset.get('split'):  # ImageNet's own place
        file = f'meta/{dataset["split"]}.txt'
    path = os.path.join(root, file)
    if (
        type_name(dataset) not in CLASS_LISTS
        or not dataset.get('with_label', True)
        or not os.path.isfile(path)
    ):
        return 0
    return _highest_label(path, os.stat(path).st_mtime_ns) + 1


@cache
def _highest_label(path: str, changed: int) -> int:
    with open(path, encoding='utf-8', errors='replace') as lines:
        labels = [line.strip().rpartition(' ')[2] for line in lines]
    return max((int(label) for label in labels if label.isdecimal()), default=-1)


def check_class_folder(dataset: Node, training: bool) -> None:
    """Look through a folder with a folder a class: what is no class, and which files are not used.

    mmpretrain's data set takes a hidden folder for a class; where there is one, ours takes its place.

    Args:
        dataset: Its settings; its type may change.
        training: Whether each class must have an image.

    Raises:
        AnnotationError: If a class has no image.
    """
    folder = folder_of(dataset)
    if type_name(dataset) not in FOLDERS or not dataset.get('with_label', True) or not os.path.isdir(folder):
        return
    found = read_class_folders(folder)
    names = (dataset.get('metainfo') or {}).get('classes') or list(found.images)
    empty = [name for name in found.images if name in names and not found.images[name]]
    if empty and training:
        raise AnnotationError(f'the class {empty[0]!r} of {folder} has no image')
    if type_name(dataset) == 'CustomDataset' and any(
        is_hidden(e.name) and e.is_dir() for e in os.scandir(folder)
    ):
        dataset['type'] = 'inimg_mm.ClassFolders'
    read = tuple(suffix.lower() for suffix in dataset.get('extensions') or READ)
    unread = Counter(
        suffix
        for images in found.images.values()
        for name in images
        if (suffix := os.path.splitext(name)[1].lower()) not in read
    )
    others = found._replace(others=found.others + unread)
    if text := told(others):
        used = sum(map(len, found.images.values())) - sum(unread.values())
        remedy = f'; extensions={SUFFIXES} of the data set reads them' if unread else ''
        print_log(f'{folder}: {used} images are used, and not {text}{remedy}', 'current', logging.WARNING)


def folder_of(dataset: Node) -> str:
    """The folder with the classes of a data set of mmpretrain's."""
    prefix = dataset.get('data_prefix') or ''
    prefix = prefix.get('img_path', '') if isinstance(prefix, dict) else prefix
    return os.path.join(dataset.get('data_root') or '', prefix)
