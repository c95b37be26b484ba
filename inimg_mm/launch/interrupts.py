"""Ctrl-C and SIGTERM: one line, of the first process, and the status that shells have for them."""

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from inimg_mm.checkpoints.resumable import last_written
from inimg_mm.startup import is_first_process, stopped_by

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stops_in_one_line(advice: Callable[[], str] = str) -> Iterator[None]:
    """End what is stopped by Ctrl-C with one line and status 130, what SIGTERM stops with status 143.

    A second signal, while the first is being answered, changes nothing; after the line it ends the process
    at once. A signal that the process was started to ignore stays ignored. Elsewhere than in the main
    thread, where Python tells no signals, nothing is done.

    Args:
        advice: How to go on, asked when it is stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    answering = False

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            _end_workers()
        if not answering:  # the first may have been lost, as in a __del__
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: known for number, known in before.items() if known not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except BaseException:
        if not received:
            raise
        answering = True
        if is_first_process():
            _say(received[0], advice())
        for number in before:
            signal.signal(number, signal.SIG_DFL)
        sys.exit(128 + received[0])
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is stop:  # and none inside has answered
                signal.signal(number, handler)


def how_to_go_on(work_dir: str | Path) -> str:
    """Where a stopped training's newest checkpoint is, and how to go on."""
    newest = last_written(work_dir)
    if newest is None:
        return f'there is no checkpoint in {work_dir} yet: the same command begins anew'
    return f'the newest checkpoint is {newest}; the same command with --resume goes on from it'


def _end_workers() -> None:
    """End the loaders' workers at once: each would print a traceback when it finds nobody there."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's own handler raises when a worker has ended
    for worker in multiprocessing.active_children():
        worker.kill()


def _say(number: int, advice: str) -> None:
    text = f'stopped by {stopped_by(number)}' + (f': {advice}' if advice else '')
    sys.stderr.write(f'{text}\n')  # in one piece: other processes write there, too
    sys.stderr.flush()
