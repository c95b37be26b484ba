"""The data that a config names is looked at before a run."""

import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from inimg_mm.config_tree import Node, datasets_of, nodes, type_name
from inimg_mm.errors import AnnotationError, UsageError, warn
from inimg_mm.host_facts import predicts

from .annotation_files import (
    COCO,
    Found,
    Reading,
    check_found,
    corrected,
    look_through,
    read_annotations,
    write_annotations,
)
from .annotations import Content
from .class_lists import CLASS_LISTS, check_class_folder, check_class_list
from .image_names import look_up, renamed
from .label_maps import unread_images


def check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Raise a :class:`UsageError` if data is not there.

    Args:
        cfg: The config.
        loaders: Names of the loaders whose folders and annotation files are looked for, and those of
            their evaluators.
    """
    for loader in loaders:
        for dataset in datasets_of((cfg.get(loader) or {}).get('dataset')):
            root = dataset.get('data_root') or ''
            annotations = os.path.join(root, dataset.get('ann_file') or '')
            for path in (root, annotations, dataset.get('bbox_file')):  # the last is mmpose's
                _check_there(loader, path)
            _check_class_names(loader, dataset)
        evaluator = loader.replace('dataloader', 'evaluator')
        for metric in nodes(cfg.get(evaluator) or {}):
            _check_there(evaluator, metric.get('ann_file'))


def _check_there(reader: str, path: str | None) -> None:
    if path and '://' not in path and not os.path.exists(path):
        hint = ' (tools/make_demo_data.py makes it)' if 'data/demo' in path else ''
        raise UsageError(f'the {reader} reads {path}, which is not there{hint}')


def _check_class_names(reader: str, dataset: Node) -> None:
    """Names of classes are a list: of a text the hosts take the letters, or what it is a part of."""
    classes = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(classes, str) and not os.path.isfile(classes):
        raise UsageError(
            f'the metainfo of the {reader} has classes={classes!r}, which is a text: write a list of names, '
            f'as in classes=({classes!r},)'
        )


CLEANED = 'annotations'
"""Folder in the work folder for annotation files without what is broken."""


def check_annotations(cfg: Config, loaders: Sequence[str], skip: int = 0) -> None:
    """Look through the annotation files of a config's loaders.

    Files of a ``CocoDataset`` are looked through entry by entry, and their images looked for; other JSON
    files are parsed, lists of images with class numbers are read, and folders of classes are listed; what
    else there is, is the host's. Where a file needs a correction, is broken within ``skip``, or has objects
    of categories that mmpose would mix up, the data set and its evaluator read a copy in the work folder; the
    file itself stays as it is.

    Args:
        cfg: The config; changed where a copy is read.
        loaders: Names of the loaders.
        skip: How many annotations of a training file may be left out. Validation data is never cut.

    Raises:
        AnnotationError: If a file cannot be read, more is broken, there is nothing to train on, or images of
            a validation set are missing.
    """
    for loader in loaders:
        seen: set[Path] = set()
        for dataset in datasets_of((cfg.get(loader) or {}).get('dataset')):
            path = Path(dataset.get('data_root') or '', dataset.get('ann_file') or '')
            kind = type_name(dataset)
            if kind in CLASS_LISTS and not dataset.get('ann_file'):
                check_class_folder(dataset, training=loader == 'train_dataloader')
            elif kind == 'BaseSegDataset' and not dataset.get('ann_file'):
                _tell_unread_images(dataset)
            elif not path.is_file():
                continue
            elif path.suffix == '.txt' and kind in CLASS_LISTS:
                check_class_list(path, dataset.get('with_label', True))
            elif path.suffix == '.json' and kind == COCO:
                _check_coco(cfg, loader, dataset, path, skip)
                seen.add(path.absolute())
            elif path.suffix == '.json':
                read_annotations(path)
        _correct_metrics(cfg, loader, seen)


def reading_of(cfg: Config | Node, loader: str) -> Reading:
    """How a loader of a config reads the annotation files of a ``CocoDataset``."""
    tree = cfg.to_dict() if isinstance(cfg, Config) else cfg
    masks = any(node.get('with_mask') for node in nodes(tree))
    return Reading(cfg.get('default_scope') or '', loader == 'train_dataloader', masks)


def meant_classes(dataset: Node, host: str) -> tuple[str, ...]:
    """The names of the categories that a ``CocoDataset`` is for; empty for all that it finds.

    mmdet's is for COCO's where it is told no others, whatever is in the file.
    """
    names = (dataset.get('metainfo') or {}).get('classes')
    if names is None and predicts(host) == 'boxes':
        with DATASETS.switch_scope_and_registry(host) as registry:
            kind = dataset.get('type')
            kind = registry.get(kind) if isinstance(kind, str) else kind
            names = getattr(kind, 'METAINFO', {}).get('classes')
    return () if not names or isinstance(names, str) else tuple(names)


def _check_coco(cfg: Config, loader: str, dataset: Node, path: Path, skip: int) -> None:
    reading = reading_of(cfg, loader)
    found, classes = look_through(path, reading), meant_classes(dataset, reading.host)
    empty = not reading.training or not _drops_empty(dataset, reading.host)
    check_found(found, reading, classes, skip if reading.training else 0, empty)
    if reading.keypoints:
        check_one_skeleton(found, classes)
    content = corrected(found, classes if reading.keypoints else ())
    _tell_small_images(found, dataset, reading)
    used = set().union(*(found.tally.images.get(key, set()) for key in found.ids(classes)))
    looked_for = found.images if empty else {key: found.images[key] for key in found.images if key in used}
    names = [] if dataset.get('indices') else [name for name, _, _ in looked_for.values()]
    meant = _check_images(path, names, dataset, skip if reading.training else 0)
    if meant:
        content = read_annotations(path) if content is None else content
        renamed(content, meant)
    if content is not None:
        copy = str(_write_copy(content, path, cfg.work_dir))
        dataset['ann_file'] = copy
        for metric in _metrics(cfg, loader):
            if metric.get('ann_file') and os.path.abspath(metric['ann_file']) == str(path.absolute()):
                metric['ann_file'] = copy


def _tell_small_images(found: Found, dataset: Node, reading: Reading) -> None:
    """Say how many images a training leaves out for their size, which mmdet does without a word."""
    least = (dataset.get('filter_cfg') or {}).get('min_size') or 0
    small = [name for name, *size in found.images.values() if min(size) < least]
    if small and reading.training and predicts(reading.host) == 'boxes':
        text = f'{len(small)} of {len(found.images)} images have a side of less than {least} pixels'
        if len(small) == len(found.images):
            raise AnnotationError(f'{found.path}: {text}, which filter_cfg.min_size leaves out')
        warn(f'{found.path}: {text}, and are left out (filter_cfg.min_size), such as {small[0]!r}')


def _tell_unread_images(dataset: Node) -> None:
    """Say how many images mmseg's data set leaves out for their suffix."""
    folder = os.path.join(
        dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('img_path') or ''
    )
    if os.path.isdir(folder) and (text := unread_images(folder, dataset.get('img_suffix') or '.jpg')):
        warn(text)


def check_one_skeleton(found: Found, classes: Sequence[str]) -> None:
    """Raise an :class:`AnnotationError` if objects of several categories have keypoints of different names.

    Args:
        found: What is in a file of mmpose's, which reads all as one.
        classes: The categories that are meant; empty for all.
    """
    counts = found.annotated()
    skeletons: dict[tuple[str, ...], str] = {}
    for category in found.categories:
        names, name = category.get('keypoints'), category['name']
        if names and counts[name] and (not classes or name in classes):
            skeletons.setdefault(tuple(names), name)
    if len(skeletons) > 1:
        told = ', '.join(f'{name!r} ({len(names)})' for names, name in skeletons.items())
        raise AnnotationError(
            f'{found.path} has categories with different keypoints, {told}, and a model has those of one: '
            f'choose it with --classes (own data: classes=)'
        )


def folder_of_images(dataset: Node) -> str | None:
    """The folder of a ``CocoDataset``'s images; None if it is not here, or of another storage."""
    prefix = dataset.get('data_prefix') or {}
    prefix = prefix.get('img', prefix.get('img_path', '')) if isinstance(prefix, dict) else prefix
    folder = os.path.join(dataset.get('data_root') or '', prefix or '')
    return None if '://' in folder or dataset.get('backend_args') or not os.path.isdir(folder) else folder


def _check_images(path: Path, listed: Sequence[str], dataset: Node, skip: int) -> dict[str, str]:
    """Look for the images; returns the names under which they are there, where the file writes others."""
    folder = folder_of_images(dataset)
    if folder is None:
        return {}
    names = look_up(listed, folder)
    if names.missing:
        first, hint = next(iter(names.missing.items()))
        text = (
            f'{len(names.missing)} of {len(listed)} images that {path} names are not in {folder}'
            f'; the first is {first!r}' + (f': {hint}' if hint else '')
        )
        if len(names.missing) > skip:
            raise AnnotationError(text)
        warn(text)
    if names.meant:
        first, other = next(iter(names.meant.items()))
        text = f'{path}: {len(names.meant)} images are there under other names ({first!r} as {other!r})'
        warn(f'{text}: those are read')
    return names.meant


def _correct_metrics(cfg: Config, loader: str, seen: Collection[Path]) -> None:
    """Have the evaluators of a loader read corrected copies of files that no data set of it reads."""
    for metric in _metrics(cfg, loader):
        path = Path(metric.get('ann_file') or '')
        if type_name(metric) != 'CocoMetric' or path.suffix != '.json' or not path.is_file():
            continue
        if path.absolute() in seen or path.parent == Path(cfg.work_dir, CLEANED).absolute():
            continue
        found = look_through(path, reading_of(cfg, loader)._replace(training=False, masks=False))
        content = corrected(found._replace(broken=[]))
        if content is not None:
            metric['ann_file'] = str(_write_copy(content, path, cfg.work_dir))


def _metrics(cfg: Config, loader: str) -> Iterator[Node]:
    if loader != 'train_dataloader':
        yield from nodes(cfg.get(loader.replace('dataloader', 'evaluator')) or {})


def _drops_empty(dataset: Any, host: str) -> bool:
    """Whether a training set is without the images that have no annotations."""
    return predicts(host) == 'keypoints' or bool((dataset.get('filter_cfg') or {}).get('filter_empty_gt'))


def _write_copy(content: Content, path: Path, work_dir: str) -> Path:
    number = zlib.crc32(str(path.absolute()).encode())  # two files may have the same name
    copy = Path(work_dir, CLEANED, f'{path.stem}-{number:08x}.json').absolute()
    write_annotations(content, copy)
    return copy
