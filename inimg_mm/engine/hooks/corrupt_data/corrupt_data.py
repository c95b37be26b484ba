"""Corrupt data: named, and up to a number left out of a training."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from inimg_mm.data_files.annotation_files import COCO, Reading, check_found, look_through, read_annotations
from inimg_mm.data_files.checks import check_one_skeleton
from inimg_mm.data_files.corrections import correct, found_in
from inimg_mm.engine.hooks.wrapped_datasets import with_wrapped
from inimg_mm.errors import UsageError
from inimg_mm.registry import HOOKS

from .guarded_loading import guard
from .loaded_sizes import Sizes
from .skipped_files import SkippedFiles

LIST = 'skipped_data.txt'
"""The file in the work folder that lists what was left out."""


@HOOKS.register_module()
class CorruptDataHook(Hook):
    """Name the file of a sample that cannot be loaded, and leave up to a number of them out.

    A host stops at a corrupt image with an error of its decoder, often in a worker process and without
    the file's name; with older releases of OpenCV it trains on a JPEG that is cut off, the rest grey. With
    this hook one sentence names the file, the image's id, and the step that failed. A label, or a pixel of a
    class map, that is none of the data set's classes is corrupt as well; so are an image of another size than
    its annotations say, and a class map of another size than its image or with several channels.

    In training, up to ``skip_corrupt`` different files are left out: each is replaced by another sample,
    chosen by its index, and warned about once. They are listed in ``skipped_data.txt`` in the work
    folder; a resumed training counts on. In validation and testing nothing is left out.

    In a config: ``custom_hooks = [dict(type='inimg_mm.CorruptDataHook', skip_corrupt=10)]``;
    ``tools/train.py`` adds it (``--skip-corrupt 10``), and looks through the annotation files before the
    hosts read them.

    Args:
        skip_corrupt: How many files may be left out.
        annotations: Look through JSON annotation files for broken entries before training; the first is
            an error that names the annotation. What COCO's metrics have read is corrected, where one reading
            is right: a missing ``iscrowd`` is 0, an ``id`` of 0 is numbered anew.

    Raises:
        UsageError: If that is no number of files.
    """

    def __init__(self, skip_corrupt: int = 0, annotations: bool = True) -> None:
        if not isinstance(skip_corrupt, int) or isinstance(skip_corrupt, bool) or skip_corrupt < 0:
            raise UsageError(f'skip_corrupt is a number of files, 0 or more, and not {skip_corrupt!r}')
        self.skip_corrupt, self.annotations = skip_corrupt, annotations
        self._skipped: SkippedFiles | None = None
        self._size = 0
        self._warned = 0

    def before_run(self, runner: Any) -> None:
        """Guard the data sets of the loops that there are.

        Raises:
            AnnotationError: If an annotation file has broken entries.
            UsageError: If the training data is not of mmengine's kind, and files are to be left out.
        """
        self._skipped = SkippedFiles(Path(runner.work_dir, LIST), self.skip_corrupt)
        for name in ('_train_loop', '_val_loop', '_test_loop'):
            loop = getattr(runner, name)
            if not isinstance(loop, BaseLoop):
                continue
            data = loop.dataloader.dataset
            if self.annotations and is_main_process():
                _check_annotations(data)
            if self.annotations:
                _correct_metrics(loop)
            guarded = guard(data, self._skipped if name == '_train_loop' else None, _sizes)
            if name == '_train_loop' and self.skip_corrupt and not guarded:
                raise UsageError(
                    "skip_corrupt needs a data set of mmengine's kind (BaseDataset), and "
                    f'{type(data).__name__} is none'
                )

    def before_train(self, runner: Any) -> None:
        """Begin a new list, or go on with that of the resumed training."""
        assert self._skipped is not None
        if runner.iter == 0:
            if os.environ.get('LOCAL_RANK', '0') == '0':  # the first process of each machine
                self._skipped.clear()
            barrier()
        elif known := self._skipped.entries():
            self._warned = len(known)
            runner.logger.warning(f'{len(known)} corrupt files are left out so far, see {self._skipped.path}')

    def after_train_iter(self, runner: Any, **_: Any) -> None:
        """Warn about files that were left out since."""
        self._warn(runner)

    def after_train(self, runner: Any) -> None:
        """Warn about the last."""
        self._warn(runner)

    def _warn(self, runner: Any) -> None:
        assert self._skipped is not None
        if not self.skip_corrupt or not self._skipped.path.exists():
            return
        size = self._skipped.path.stat().st_size
        if size == self._size:
            return
        self._size = size
        entries = self._skipped.entries()
        for number, (name, reason) in list(enumerate(entries, start=1))[self._warned :]:
            runner.logger.warning(f'left out ({number} of up to {self.skip_corrupt}): {name} {reason}')
        self._warned = len(entries)


def guard_as_a_training(data: Any) -> None:
    """Have a built data set name the files that a training would stop at, without leaving out any."""
    guard(data, None, _sizes)


def _annotated(data: Any) -> Iterator[tuple[Any, Path, Reading]]:
    """The data sets of a loader that read a JSON file, with how they do."""
    for dataset in with_wrapped(data):
        path = Path(str(getattr(dataset, 'ann_file', '') or ''))
        if path.suffix == '.json' and path.is_file():
            steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
            masks = any(getattr(step, 'with_mask', False) for step in steps)
            host = type(dataset).__module__.partition('.')[0]
            yield dataset, path, Reading(host, not getattr(dataset, 'test_mode', False), masks)


def _check_annotations(data: Any) -> None:
    for dataset, path, reading in _annotated(data):
        if type(dataset).__name__ != COCO:
            read_annotations(path)
            continue
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes') or ()
        check_found(found := look_through(path, reading), reading, classes)
        if reading.keypoints:
            check_one_skeleton(found, classes)


def _correct_metrics(loop: Any) -> None:
    """Correct what metrics of COCO's kind have read: the file stays as it is."""
    for metric in getattr(getattr(loop, 'evaluator', None), 'metrics', ()):
        api: Any = getattr(metric, '_coco_api', None) or getattr(metric, 'coco', None)
        content = getattr(api, 'dataset', None)
        if isinstance(content, dict) and (found := found_in(content, training=False)):
            for row, count in found:
                print_log(
                    f'{type(metric).__name__}: {count} annotations {row.what}: {row.read_as}', 'current'
                )
            correct(content)
            api.createIndex()


def _sizes(dataset: Any) -> Sizes | None:
    """Width and height of the images of mmpose's data sets, whose samples do not have them."""
    for _, path, reading in _annotated(dataset):
        if reading.keypoints and type(dataset).__name__ == COCO:
            images = look_through(path, reading).images
            return {key: dict(width=width, height=height) for key, (_, width, height) in images.items()}
        break
    return None
