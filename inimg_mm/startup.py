"""What a tool does before it imports torch, which takes seconds: this module imports nothing of weight."""

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import NoReturn


def begin() -> None:
    """Let torch's idle threads sleep, and say a stop during the imports in one line.

    OpenMP's threads spin while they wait for each other, which takes the cores from whatever else runs on
    the machine; torch reads ``OMP_WAIT_POLICY`` when it is imported. What the user has set stays. Where
    torch is imported already nothing is done.
    """
    if 'torch' in sys.modules:
        return
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    sys.excepthook = _say_a_stop
    signal.signal(signal.SIGTERM, _end)


def stopped_by(number: int) -> str:
    """What stopped a run, in the words that its user knows."""
    return 'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name


def is_first_process() -> bool:
    """Whether this is the process that speaks for all of a launcher's, before these have met."""
    ranks = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return next((os.environ[name] for name in ranks if name in os.environ), '0') == '0'


def _end(number: int, frame: FrameType | None) -> NoReturn:
    if is_first_process():
        print(f'stopped by {stopped_by(number)}, before anything was begun', file=sys.stderr, flush=True)
    os._exit(128 + number)


def _say_a_stop(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _end(signal.SIGINT, None)
    sys.__excepthook__(kind, error, trace)
