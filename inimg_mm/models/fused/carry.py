"""The mean of a tail's output, for the next block's gate, whose second stream that output is.

The pass that writes the output sums it up, too, and the next tail saves a walk. Only the last output of a
thread is remembered, and only as long as it is alive and nobody has changed it; any other tensor is walked
over. What is handed on has no gradient: the mean's still comes with that of the map, so that a hook on the
map, and whoever differentiates by it, sees all of it.
"""

import threading
import weakref
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from .passes import Rows


class _Last(threading.local):
    output: Any = None
    version: int = 0
    rows: 'Rows | None' = None


_last = _Last()


def remember(output: Tensor, rows: 'Rows | None') -> None:
    """Keep the chunks' means of an output until the next one comes; None forgets."""
    if rows is None or output.is_inference():
        _last.output = _last.rows = None
    else:
        _last.output, _last.version, _last.rows = weakref.ref(output), output._version, rows


def remembered(x: Tensor) -> 'Rows | None':
    """The chunks' means of ``x``, if it is the last output and still what it was."""
    if _last.output is None or _last.output() is not x or x._version != _last.version:
        return None
    return _last.rows
