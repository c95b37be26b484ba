"""The data that a config names is looked at before a run."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from inimg_mm.config_tree import datasets_of, nodes, type_name
from inimg_mm.errors import UsageError

from .annotation_files import CLASS_LISTS, _check_class_list, check_file, needed_by, write_annotations
from .annotations import Content


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
        evaluator = loader.replace('dataloader', 'evaluator')
        for metric in nodes(cfg.get(evaluator) or {}):
            _check_there(evaluator, metric.get('ann_file'))


def _check_there(reader: str, path: str | None) -> None:
    if path and '://' not in path and not os.path.exists(path):
        hint = ' (tools/make_demo_data.py makes it)' if 'data/demo' in path else ''
        raise UsageError(f'the {reader} reads {path}, which is not there{hint}')


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


def _drops_empty(dataset: Any, host: str) -> bool:
    """Whether a training set is without the images that have no annotations."""
    return host == 'mmpose' or bool((dataset.get('filter_cfg') or {}).get('filter_empty_gt'))


def _write_copy(content: Content, path: Path, work_dir: str) -> Path:
    number = zlib.crc32(str(path.absolute()).encode())  # two files may have the same name
    copy = Path(work_dir, CLEANED, f'{path.stem}-{number:08x}.json').absolute()
    write_annotations(content, copy)
    return copy
