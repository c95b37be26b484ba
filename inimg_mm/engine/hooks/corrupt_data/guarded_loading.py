"""Samples that cannot be made, by the name of their file."""

import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement

from inimg_mm.data_files.image_files import why_broken
from inimg_mm.engine.hooks.wrapped_datasets import with_wrapped
from inimg_mm.errors import UsageError

from .loaded_sizes import BrokenFile, Sizes, compare_sizes
from .skipped_files import SkippedFiles

ATTEMPTS = 100
"""How many other samples are tried in the place of a corrupt one."""


class CorruptDataError(UsageError):
    """A sample cannot be made; the message names its file.

    torch raises an exception of a worker process again with the worker's whole traceback as its message:
    of that, the sentence is kept.
    """

    def __init__(self, message: str) -> None:
        from_worker = re.search(rf'{type(self).__name__}: (.*)', message)
        super().__init__(from_worker[1] if from_worker else message)


class GuardedLoading:
    """Takes the place of a dataset's ``prepare_data``.

    Args:
        dataset: The dataset, one of mmengine's kind.
        tolerated: Where corrupt files are entered whose samples are replaced by others, chosen by the
            index. Default: the first one is an error.
    """

    def __init__(self, dataset: Any, tolerated: SkippedFiles | None = None) -> None:
        self.dataset, self.tolerated = dataset, tolerated
        self._looked_at: set[int] = set()
        self._classes = len((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())

    def __call__(self, index: Any) -> Any:
        wanted, told = index, ''
        for attempt in range(ATTEMPTS):
            try:
                return self._prepare(index)
            except (CorruptDataError, MemoryError):
                raise
            except Exception as error:
                name, reason = self._describe(index, error)
                told = told or f'{name} {reason}'
                if self.tolerated is None or not isinstance(wanted, int | np.integer):
                    raise CorruptDataError(f'{name} {reason}') from error
                if not self.tolerated.admit(name, reason):
                    limit, path = self.tolerated.limit, self.tolerated.path
                    raise CorruptDataError(
                        f'{name} {reason}; skip_corrupt is {limit}'
                        + (f', and as many were left out before (see {path})' if limit else '')
                    ) from error
                index = int(np.random.default_rng([int(wanted), attempt]).integers(len(self.dataset)))
        raise CorruptDataError(f'{told}; in its place, {ATTEMPTS} others are corrupt too')

    def _prepare(self, index: Any) -> Any:
        if isinstance(index, int | np.integer) and int(index) not in self._looked_at:
            for path in _files(self.dataset.get_data_info(index)).values():
                if reason := why_broken_if_local(path):
                    raise BrokenFile(path, reason)
            self._looked_at.add(int(index))
        sample = type(self.dataset).prepare_data(self.dataset, index)
        for key, label in _labels(self.dataset, sample) if self._classes else ():
            if not 0 <= label < self._classes:
                path = _files(self.dataset.get_data_info(index)).get(key, f'sample {index}')
                raise BrokenFile(path, f'it has the label {label}, and there are {self._classes} classes')
        return sample

    def _describe(self, index: Any, error: Exception) -> tuple[str, str]:
        """The name of the file that a sample fails for, and what is said of it."""
        try:
            info = self.dataset.get_data_info(index)
        except Exception:
            info = {}
        files = _files(info)
        source = getattr(self.dataset, 'ann_file', None) or type(self.dataset).__name__
        where = f'(image id {info["img_id"]} of {source})' if 'img_id' in info else f'(of {source})'
        if isinstance(error, BrokenFile):
            return error.path, f'{where} is corrupt: {error.reason}'
        step = _failing_step(error)
        name = files.get('seg_map_path') if 'Annotation' in step else None
        name = name or files.get('img_path') or f'sample {index}'
        message = ' '.join(str(error).split())[:300]
        return name, f'{where} cannot be loaded: {step} fails with {type(error).__name__}: {message}'


def guard(
    dataset: Any,
    tolerated: SkippedFiles | None = None,
    sizes: Callable[[Any], Sizes | None] = lambda one: None,
) -> int:
    """Guard a dataset and those that it wraps.

    Args:
        dataset: The outermost.
        tolerated: See :class:`GuardedLoading`.
        sizes: What :func:`.compare_sizes` is given for each.

    Returns:
        How many have a loading to guard: those of mmengine's kind.
    """
    guarded = 0
    for one in with_wrapped(dataset):
        if hasattr(type(one), 'prepare_data'):
            one.prepare_data = GuardedLoading(one, tolerated)
            compare_sizes(one, sizes(one))
            guarded += 1
    return guarded


def why_broken_if_local(path: str) -> str | None:
    """See :func:`inimg_mm.data_files.image_files.why_broken`; a file of another backend is not looked at."""
    try:
        return why_broken(path)
    except OSError:
        return None  # the loader says what it is


def _files(info: Any) -> dict[str, str]:
    """The image and the class map of a sample, as far as they are files."""
    keys = ('img_path', 'seg_map_path')
    return {key: info[key] for key in keys if isinstance(info, dict) and isinstance(info.get(key), str)}


def _labels(dataset: Any, sample: Any) -> Iterator[tuple[str, int]]:
    """The greatest class index of an image or a class map, with the key of its file.

    At one that is no class a loss stops without a name, on a GPU a step later; a metric overlooks it.
    """
    packed = sample.get('data_samples') if isinstance(sample, dict) else None
    if isinstance(packed, BaseDataElement):
        label = packed.get('gt_label')
        if isinstance(label, torch.Tensor) and len(label):
            yield 'img_path', int(label.max())
        ignored = getattr(dataset, 'ignore_index', None)  # of mmseg's; mmdet's maps have classes of their own
        if ignored is not None and 'gt_sem_seg' in packed:
            counted = packed.gt_sem_seg.data
            counted = counted[counted != ignored]
            if len(counted):
                yield 'seg_map_path', int(counted.max())


def _failing_step(error: Exception) -> str:
    """The class of the transform that raised an error, or of what else did."""
    steps = [
        type(frame.f_locals['self']).__name__
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if 'self' in frame.f_locals and hasattr(frame.f_locals['self'], 'transform')
    ]
    return steps[-1] if steps else 'its loading'
