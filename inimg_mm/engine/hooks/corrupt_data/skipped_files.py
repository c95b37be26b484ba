"""The list of corrupt files that a training leaves out, shared by its processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


class SkippedFiles:
    """Up to ``limit`` names and reasons in a text file, so that workers, ranks and resumed runs share them.

    Args:
        path: The text file; a line has a name, a tab and a reason.
        limit: How many different names it takes.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit

    def admit(self, name: str, reason: str) -> bool:
        """Enter a file, unless it is there; False if there are too many."""
        with self._locked() as file:
            names = [line.split('\t')[0] for line in file]
            if name in names:
                return True
            if len(names) >= self.limit:
                return False
            file.write(f'{name}\t{reason}\n')
            return True

    def clear(self) -> None:
        """Forget all, for a training that begins."""
        self.path.unlink(missing_ok=True)

    def entries(self) -> list[tuple[str, str]]:
        """Names and reasons, in the order in which they were entered."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding='utf-8').splitlines()
        return [(name, reason) for name, _, reason in (line.partition('\t') for line in lines)]

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        with self.path.open('a+', encoding='utf-8') as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
            file.seek(0)
            yield file
