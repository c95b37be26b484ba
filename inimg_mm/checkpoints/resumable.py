"""Which checkpoint a training goes on from."""

import logging
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mmengine.logging import print_log

from inimg_mm.errors import CheckpointError, RefusedError

from .addresses import local_file
from .reading import Opened, open_checkpoint, read_file

POINTER = 'last_checkpoint'
"""The file in a work folder that names its newest checkpoint."""

LONGEST = 255
"""Bytes in the name of a file."""

NUMBERED = re.compile(r'(.*?)(\d+)(\D*)')
"""Name of a checkpoint: what stands before its step, the step, what stands behind it."""

IN_FOLDERS = ('DeepSpeedStrategy', 'ColossalAIStrategy')
"""Strategies of mmengine whose checkpoints are folders, with parts of names of their own."""

RESUMABLE = ('meta', 'message_hub', 'state_dict')
"""What mmengine reads when it resumes."""


def newest_checkpoint(work_dir: str | Path, trust: bool = False) -> Opened | None:
    """Find the newest checkpoint of a work folder that a training can go on from.

    It is the one that ``last_checkpoint`` names. One that is damaged is skipped, with a warning, for the
    one before it: the same name with the next lower number. Without ``last_checkpoint``, which is written
    after the first checkpoint, or if it names nothing that is there, it is the newest ``epoch_*.pth`` or
    ``iter_*.pth`` of the folder.

    Args:
        work_dir: The work folder. A checkpoint that lies in it is meant even if ``last_checkpoint`` was
            written when the folder had another name, or is a copy's.
        trust: Accept a checkpoint that needs unpickling.

    Returns:
        The checkpoint, or None if there is none.

    Raises:
        RefusedError: If the newest would run code when it is read.
        CheckpointError: If there are checkpoints, and all are damaged.
    """
    damaged: list[str] = []
    for path in _candidates(Path(work_dir)):
        try:
            opened = open_resumable(path, trust)
        except RefusedError:
            raise
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        if damaged:
            print_log(f'{"; ".join(damaged)}: going on from {path}', 'current', logging.WARNING)
        return opened
    if damaged:
        raise CheckpointError(
            f'{work_dir} has no checkpoint to go on from: {"; ".join(damaged)}; --resume FILE names '
            'another, and without --resume the training begins anew'
        )
    return None


def last_written(work_dir: str | Path) -> str | None:
    """The newest checkpoint of a work folder, unread; None if there is none."""
    found = (path for path in _candidates(Path(work_dir)) if '://' in path or Path(path).exists())
    return next(found, None)


def open_resumable(source: str, trust: bool = False) -> Opened:
    """Read a checkpoint as a whole, safely, before mmengine reads it to resume.

    Args:
        source: File or URL. In a folder, which sharding strategies write, every file is read.
        trust: Accept a file that needs unpickling.

    Raises:
        RefusedError: If reading it would run code.
        CheckpointError: If it is missing or damaged, or holds a model and no state of a training.
    """
    if Path(source).is_dir():
        return open_checkpoint(source, trust)
    with local_file(source) as path:
        _check_sums(path)  # first: damaged bytes may look like code
        content = read_file(path, trust)
    missing = [key for key in RESUMABLE if not isinstance(content, dict) or key not in content]
    if missing:
        raise CheckpointError(
            f'{source} holds no state of a training ({", ".join(missing)}), so none can go on from it; '
            'load_from=… in the config starts one from its weights'
        )
    return Opened(source, content)


def _check_sums(path: Path) -> None:
    """Compare a checkpoint's parts with their checksums, at which torch does not look."""
    if not zipfile.is_zipfile(path):
        return  # the format before torch 1.6, which has none
    with zipfile.ZipFile(path) as archive:
        try:
            bad = archive.testzip()
        except Exception as error:
            raise CheckpointError(f'{path} is damaged: {error}') from error
    if bad is not None:
        raise CheckpointError(f'{path} is damaged: the checksum of its part {bad} is wrong')


def _candidates(work_dir: Path) -> Iterator[str]:
    """Checkpoints of a work folder, the one to go on from first."""
    named = _pointed_to(work_dir)
    if '://' in named:
        yield named
        return
    here = work_dir / Path(named).name
    newest = here if here.exists() else work_dir / named  # an absolute name stays as it is
    earlier = [path for path in newest.parent.glob('*') if _series(path) == _series(newest)]
    earlier = [path for path in earlier if _step(path) < _step(newest)]
    if named and (newest.exists() or earlier):
        yield str(newest)
        yield from map(str, sorted(earlier, key=_step, reverse=True))
        return
    found = [*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth')]
    yield from map(str, sorted(found, key=lambda path: (path.stat().st_mtime, _step(path)), reverse=True))
    if named:
        yield str(newest)  # which is missing, and is said to be


def _pointed_to(work_dir: Path) -> str:
    """What ``last_checkpoint`` says; nothing if it is missing, empty or no name of a file."""
    pointer = work_dir / POINTER
    named = pointer.read_bytes().decode(errors='replace').strip() if pointer.is_file() else ''
    return named if named.isprintable() and len(Path(named).name.encode()) <= LONGEST else ''


def _series(path: Path) -> tuple[str, ...]:
    match = NUMBERED.fullmatch(path.name)
    return match.group(1, 3) if match else (path.name,)


def _step(path: Path) -> int:
    match = NUMBERED.fullmatch(path.name)
    return int(match[2]) if match else 0
