"""What a runner logs of itself is held back until it runs: errors come first, and warnings last."""

import io
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from mmengine.hooks import Hook
from mmengine.logging import MMLogger


class HeldOutput(io.TextIOBase):
    """Standard output that keeps what is written until :meth:`pass_on`, and shows it on :meth:`show`."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._held: list[str] | None = []
        self._text = ''

    def write(self, text: str) -> int:
        """Keep a text, or write it."""
        if self._held is None:
            return self._stream.write(text)
        self._held.append(text)
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return self._stream.isatty()

    def pass_on(self) -> None:
        """Write what comes from now on; what came before stays held."""
        self._text, self._held = ''.join(self._held or []), None

    def show(self) -> None:
        """Write what was held, once."""
        self._stream.write(self._text)
        self._text = ''


class ShowHeld(Hook):
    """Show held output when a loop begins, and then what was warned of."""

    priority = 'VERY_HIGH'

    def __init__(self, output: HeldOutput, warnings: Sequence[str]) -> None:
        self._output, self._warnings = output, warnings

    def before_train(self, runner: Any) -> None:
        """Show it: model, weights and data are there."""
        self._output.show()
        for text in self._warnings:
            runner.logger.warning(text)

    before_val = before_test = before_train


@contextmanager
def warnings_kept() -> Iterator[list[str]]:
    """Keep what is warned of before there is a runner, and a log file.

    Yields:
        The warnings, for :func:`errors_first`: a whole config that is shown after them pushes them away.
    """
    kept: list[str] = []
    handler, logger = logging.Handler(logging.WARNING), MMLogger.get_current_instance()
    handler.emit = lambda record: kept.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield kept
    finally:
        logger.removeHandler(handler)


@contextmanager
def errors_first(warnings: Sequence[str] = ()) -> Iterator[Hook]:
    """Hold back what a runner prints while it is built: its environment and its whole config.

    An error that follows is then read at once; the log file in the work folder has all in its order.

    Args:
        warnings: What is said after it, where the first iterations follow.

    Yields:
        A hook to register with the runner, which shows it when the training or the test begins.
    """
    output = HeldOutput(sys.stdout)
    with redirect_stdout(output):
        try:
            yield ShowHeld(output, warnings)
        finally:
            output.pass_on()
