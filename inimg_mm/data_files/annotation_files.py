"""Annotation files are looked through before a run, so that what is broken has a name."""

import json
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from inimg_mm.errors import AnnotationError
from inimg_mm.files import replacing

from .annotations import NEEDED, Content, find_broken, without

COCO = 'CocoDataset'
"""mmdet's and mmpose's data set whose entries are looked at; others have their own rules."""

CLASS_LISTS = ('CustomDataset', 'ImageNet')
"""mmpretrain's data sets with a list of images and classes."""


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


def read_annotations(path: str | Path) -> Any:
    """Parse a JSON file.

    Raises:
        AnnotationError: If it is no JSON, for example because it is cut off.
    """
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except (ValueError, OSError) as error:  # of JSON or of the encoding
        raise AnnotationError(f'the annotation file {path} cannot be read: {error}') from error


def write_annotations(content: Content, path: Path) -> None:
    """Write a JSON file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content), encoding='utf-8')
