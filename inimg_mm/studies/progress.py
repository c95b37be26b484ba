"""The bar over the parts of a long study."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress_bar(what: str, total: int, done: int = 0) -> Iterator[tuple[Progress, TaskID]]:
    """A bar over the parts of a study, with the time that is left at their speed so far.

    Args:
        what: Stands before the bar at first.
        total: Number of parts.
        done: How many of them need no work any more.
    """
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=math.inf) as progress:
        yield progress, progress.add_task(what, total=total, completed=done)
