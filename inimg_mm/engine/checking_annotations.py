"""Annotation files are looked through before a run, so that what is broken has a name."""

import logging
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from inimg_mm.datasets.annotations import (
    NEEDED,
    AnnotationError,
    Content,
    find_broken,
    read_annotations,
    without,
    write_annotations,
)
from inimg_mm.nodes import datasets_of, nodes
from inimg_mm.registry import type_name

COCO = 'CocoDataset'
"""mmdet's and mmpose's data set whose entries are looked at; others have their own rules."""

CLASS_LISTS = ('CustomDataset', 'ImageNet')
"""mmpretrain's data sets with a list of images and classes."""

CLEANED = 'annotations'
"""Folder in the work folder for annotation files without what is broken."""


def check_annotations(cfg: Config, loaders: Sequence[str], skip: int = 0) -> None:
    """Look through the annotation files of a config's loaders.

    Files of a ``CocoDataset`` are looked through entry by entry, other JSON files are parsed, and lists of
    images with class numbers are read; what else there is, is the host's.

    Args:
        cfg: The config. With ``skip``, a training set with broken annotations is read from a copy in the
            work folder that lacks them; the file itself stays as it is.
        loaders: Names of the loaders.
        skip: How many annotations of a training file may be left out. Validation data is never cut.

    Raises:
        AnnotationError: If a file cannot be read, more is broken, or there is nothing to train on.
    """
    masks = any(node.get('with_mask') for node in nodes(cfg.to_dict()))
    for loader in loaders:
        training = loader == 'train_dataloader'
        for dataset in datasets_of((cfg.get(loader) or {}).get('dataset')):
            path = Path(dataset.get('data_root') or '', dataset.get('ann_file') or '')
            if not path.is_file():
                continue
            kind = type_name(dataset)
            if path.suffix == '.txt' and kind in CLASS_LISTS:
                _check_class_list(path, dataset.get('with_label', True))
            if path.suffix == '.json':
                needed = needed_by(cfg.default_scope, training)
                empty = not training or not _drops_empty(dataset, cfg.default_scope)
                cleaned = check_file(path, kind, masks, needed, skip if training else 0, empty)
                if cleaned is not None:
                    dataset['ann_file'] = str(_write_copy(cleaned, path, cfg.work_dir))


def needed_by(host: str, training: bool) -> Collection[str]:
    """Keys that every annotation must have for a host's ``CocoDataset``, or for its metric afterwards."""
    return NEEDED if host == 'mmpose' and training else (*NEEDED, 'area')


def check_file(
    path: Path,
    kind: str,
    masks: bool,
    needed: Collection[str] = NEEDED,
    skip: int = 0,
    empty: bool = True,
) -> Content | None:
    """Look through a JSON file of annotations.

    Args:
        path: The file.
        kind: Class of the data set that reads it; a ``CocoDataset``'s entries are looked at.
        masks: Whether its masks are used.
        needed: Keys that every annotation must have.
        skip: How many annotations may be broken.
        empty: Whether it may have no annotations.

    Returns:
        What it has without the broken ones; None if it has none.

    Raises:
        AnnotationError: If it cannot be read, more is broken, or nothing is left to train on.
    """
    content = read_annotations(path)
    if kind != COCO:
        return None
    try:
        broken = find_broken(content, masks, needed)
    except AnnotationError as error:
        raise AnnotationError(f'the annotation file {path} is broken: {error}') from error
    if len(broken) > skip:
        more = f' (and {len(broken) - 1} more)' if len(broken) > 1 else ''
        limit = f'; skip_corrupt is {skip}' if skip else ''
        raise AnnotationError(f'in {path}, {broken[0].reason}{more}{limit}')
    for number, (_, _, reason) in enumerate(broken, start=1):
        print_log(f'left out ({number} of up to {skip}) of {path}: {reason}', 'current', logging.WARNING)
    whole = without(content, broken) if broken else content
    if not empty and not whole.get('annotations'):
        raise AnnotationError(f'{path} has no annotations to train on')
    return whole if broken else None


def _drops_empty(dataset: Any, host: str) -> bool:
    """Whether a training set is without the images that have no annotations."""
    return host == 'mmpose' or bool((dataset.get('filter_cfg') or {}).get('filter_empty_gt'))


def _write_copy(content: Content, path: Path, work_dir: str) -> Path:
    number = zlib.crc32(str(path.absolute()).encode())  # two files may have the same name
    copy = Path(work_dir, CLEANED, f'{path.stem}-{number:08x}.json').absolute()
    write_annotations(content, copy)
    return copy


def _check_class_list(path: Path, with_label: bool) -> None:
    """mmpretrain's text files: a name a line, with the number of its class."""
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
