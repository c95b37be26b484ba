"""Files that are whole or as they were."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
