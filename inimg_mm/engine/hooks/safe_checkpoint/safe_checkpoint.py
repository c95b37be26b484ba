"""Checkpoints that are whole or not there, and never the price of the one before."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook

from inimg_mm.checkpoints.resumable import IN_FOLDERS, POINTER, newest_checkpoint
from inimg_mm.errors import UsageError
from inimg_mm.output_files import check_folder, write_text
from inimg_mm.registry import HOOKS

from .disk_space import check_room

UNFINISHED = '.{}.part'
"""Name of a checkpoint while it is written."""

TORCHS_WRITER = 'PytorchStreamWriter'
"""What torch calls itself in errors of writing, which are no ``OSError``."""


class CheckpointNotSavedError(UsageError):
    """A checkpoint could not be written; those before it are untouched."""


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, with the same arguments, that loses nothing when a write fails.

    * A checkpoint is written under another name, flushed to the disk and renamed when it is whole. Where
      that fails (a full disk), the rest of it is removed, and the run ends with one sentence.
    * Older checkpoints (``max_keep_ckpts``, ``save_best``) are removed after the new one is there;
      mmengine removes them before.
    * ``last_checkpoint`` is replaced as a whole as well.
    * A run that resumes by itself (``resume=True`` without ``load_from``) takes the newest checkpoint that is
      whole, see :func:`inimg_mm.checkpoints.resumable.newest_checkpoint`; also from a work folder that was
      moved or copied, whose checkpoints are never mixed up with those of the old place.
    * Before the first iteration the disk is asked for the room that the checkpoints need.

    In a config: ``default_hooks = dict(checkpoint=dict(type='inimg_mm.SafeCheckpointHook'))`` beside the
    settings that are there; ``tools/train.py`` does so. A remote ``out_dir`` (``s3://…``) or one with
    ``file_client_args`` is written in mmengine's way.
    """

    file_backend: Any

    def before_run(self, runner: Any) -> None:
        """Choose the checkpoint that a run resumes from by itself."""
        if runner._resume is True and runner._load_from is None and not runner._has_loaded:
            newest = newest_checkpoint(runner.work_dir)
            runner._load_from = newest and newest.source

    def before_train(self, runner: Any) -> None:
        """Bring names of an earlier place here, clear what a killed run left, and ask for room.

        Raises:
            UsageError: If the folder cannot be written into, or the disk has too little room.
        """
        super().before_train(runner)
        if not self._is_local():
            return
        self._rebase_best()
        if is_main_process():
            folder = check_folder(self.out_dir)
            for left in folder.glob(UNFINISHED.format('*')):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            check_room(self, runner)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict[str, Any]) -> None:
        if not self._is_local():
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        if isinstance(runner, _Saver):
            runner = runner.runner
        outdated = self._keep(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = os.path.join(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        options = dict(
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self._write(runner, name, options)
        if is_main_process():
            write_text(Path(runner.work_dir, POINTER), [self.last_ckpt])
            for old in outdated:
                _remove(Path(self.out_dir, self.filename_tmpl.format(old)))
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _save_best_checkpoint(self, runner: Any, metrics: dict[str, Any]) -> None:
        if not self.save_best or not self._is_local():
            super()._save_best_checkpoint(runner, metrics)
            return
        backend = self.file_backend
        self.file_backend = later = _LaterRemoval(backend)
        try:
            super()._save_best_checkpoint(_Saver(runner, self._write), metrics)
        finally:
            self.file_backend = backend
        for path in later.outdated:
            if path not in (getattr(self, 'best_ckpt_path', None), *self._best_paths().values()):
                _remove(Path(path))

    def _keep(self, runner: Any, step: int) -> list[int]:
        """Enter a step into the list of those that are kept; return those that fall out of it.

        The checkpoint itself still lists these: if the run is killed before they are removed, mmengine
        removes them when it resumes.
        """
        if self.max_keep_ckpts <= 0 or (self.keep_ckpt_ids and self.keep_ckpt_ids[-1] == step):
            return []
        known = [*self.keep_ckpt_ids, step]
        self.keep_ckpt_ids.append(step)  # a deque that holds max_keep_ckpts
        runner.message_hub.update_info('keep_ckpt_ids', known)
        return [old for old in known if old not in self.keep_ckpt_ids]

    def _write(self, runner: Any, name: str, options: dict[str, Any]) -> None:
        """Save under another name, then rename."""
        whole = type(getattr(runner, 'strategy', None)).__name__ not in IN_FOLDERS
        part = UNFINISHED.format(name) if whole else name
        target, written = Path(self.out_dir, name), Path(self.out_dir, part)
        try:
            runner.save_checkpoint(self.out_dir, part, **options)
            barrier()  # where every process writes its share
            if whole and is_main_process():
                _flush(written)
                if target.is_dir():
                    shutil.rmtree(target)
                written.replace(target)
                _flush(target.parent)
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and TORCHS_WRITER not in str(error):
                raise
            if whole and is_main_process() and written.exists():
                _remove(written)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise CheckpointNotSavedError(
                f'the checkpoint {target} could not be written: {reason}; what was saved before is '
                'untouched, and --resume goes on from there'
            ) from error

    def _rebase_best(self) -> None:
        """Find the best checkpoints in this folder, whose names the checkpoint has from an earlier place.

        What is not here is forgotten: it may belong to the folder that this one was copied from.
        """
        if not self.save_best:
            return
        here = {key: os.path.join(self.out_dir, os.path.basename(p)) for key, p in self._best_paths().items()}
        here = {key: path for key, path in here.items() if os.path.exists(path)}
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = here.get('')
        else:
            self.best_ckpt_path_dict = {key: here.get(key) for key in self.key_indicators}

    def _best_paths(self) -> dict[str, str]:
        """Paths of the best checkpoints by metric; under '' if there is one metric."""
        single = getattr(self, 'best_ckpt_path', None)
        several = getattr(self, 'best_ckpt_path_dict', {})
        return {**({'': single} if single else {}), **{key: path for key, path in several.items() if path}}

    def _is_local(self) -> bool:
        return self.file_client_args is None and isinstance(self.file_backend, LocalBackend | _LaterRemoval)


class _LaterRemoval:
    """A file backend that remembers what is to be removed."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.outdated: list[str] = []

    def remove(self, path: str) -> None:
        self.outdated.append(path)

    rmtree = remove

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class _Saver:
    """A runner whose checkpoints are written by a function."""

    def __init__(self, runner: Any, write: Callable[[Any, str, dict[str, Any]], None]) -> None:
        self.runner, self._write = runner, write

    def save_checkpoint(
        self, out_dir: str, filename: str, file_client_args: None = None, **options: Any
    ) -> None:
        self._write(self.runner, filename, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)


def _flush(path: Path) -> None:
    """Have a file, or a folder's names, on the disk."""
    if path.is_dir() and os.name == 'nt':
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file, or the folder that some strategies write; one that is gone is fine."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
