"""Output files: whole or not at all, and refused before the work where they cannot be written."""

import csv
import io
import json
import math
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from inimg_mm.errors import UsageError

PROBE = 2**16
"""Bytes that a folder must take: about what a run writes at its start."""


def check_output(path: str | Path) -> Path:
    """Make the folder of a file that is to be written.

    Returns:
        The file's absolute path.

    Raises:
        UsageError: If the file cannot be written there.
    """
    path = Path(path).absolute()
    if path.is_dir():
        raise UsageError(f'{path} is a folder, and a file is to be written there')
    if path.exists() and not path.is_file():
        raise UsageError(f'{path} is a device or the like, and a file is to be written there')
    check_folder(path.parent)
    return path


def check_folder(folder: str | Path) -> Path:
    """Make a folder that files are to be written into.

    Returns:
        Its absolute path.

    Raises:
        UsageError: If it cannot be made or written into.
    """
    folder = Path(folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f'cannot make the folder {folder}: {error.strerror or error}') from error
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE))
    except OSError as error:
        raise UsageError(f'cannot write into the folder {folder}: {error.strerror or error}') from error
    return folder


def told_apart(paths: Sequence[Path]) -> list[str]:
    """Names for different paths: what of each follows the folder that all share."""
    if len(paths) == 1:
        return [paths[0].name]
    root = Path(os.path.commonpath(paths))
    return [path.name if path == root else str(path.relative_to(root)) for path in paths]


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON. Numbers that are not finite, for which JSON has no words, become null."""
    options: dict[str, Any] = dict(indent=indent, default=float, allow_nan=False)
    try:
        return json.dumps(value, **options)
    except ValueError:
        return json.dumps(_finite(value), **options)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    return None if isinstance(value, float | np.floating) and not math.isfinite(value) else value


def csv_line(row: Sequence[object]) -> str:
    """A line of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerow(row)
    return text.getvalue()


def write_text(path: Path, parts: Iterable[str]) -> None:
    """Write a text beside its place, then rename it: the file is whole, or as it was.

    Args:
        path: The file; its folder exists.
        parts: The text, piece by piece.

    Raises:
        UsageError: If it cannot be written.
    """
    try:
        with replacing(path) as temporary, temporary.open('w', encoding='utf-8') as file:
            file.writelines(parts)
    except OSError as error:
        raise UsageError(f'cannot write {path}: {error.strerror or error}') from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside ``path`` to write, and rename it to ``path`` when that has gone well.

    Its name is drawn, so that processes of several machines do not meet in a shared folder.

    Args:
        path: The file; its folder exists.

    Raises:
        OSError: If it cannot be written; nothing is left of the attempt.
    """
    temporary = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
