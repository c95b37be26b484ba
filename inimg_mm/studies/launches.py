"""What launching the fused kernels costs the host, without a card: a stand-in for its driver runs nothing."""

import importlib
import pkgutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.driver import CudaLauncher
from triton.compiler.compiler import max_shared_mem
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from inimg_mm.models import fused
from inimg_mm.models.fused import launcher, switch


class Card:
    """Stands for a CUDA driver: Triton compiles for it, and what its launchers in C get goes to ``receive``.

    Attributes:
        device: The index of the current device.
        loaded: How many kernels were loaded; each has its number as its handle.
    """

    def __init__(self, receive: Callable[..., Any], capability: int = 90) -> None:
        self.device, self.loaded = 0, 0
        self._receive, self._capability = receive, capability
        self.utils = SimpleNamespace(
            load_binary=self._load, get_device_properties=lambda device: dict(max_shared_mem=2**17)
        )

    def launcher_cls(self, source: Any, metadata: Any) -> CudaLauncher:
        """Triton's launcher of a kernel, but for the part in C."""
        made = CudaLauncher.__new__(CudaLauncher)
        made.num_ctas, made.launch = 1, self._receive
        for kind in ('global_scratch', 'profile_scratch'):
            for name in (f'{kind}_size', f'{kind}_align'):
                setattr(made, name, getattr(metadata, name))
        made.launch_cooperative_grid, made.launch_pdl = metadata.launch_cooperative_grid, metadata.launch_pdl
        return made

    def get_current_target(self) -> GPUTarget:
        return GPUTarget('cuda', self._capability, 32)

    def get_current_device(self) -> int:
        return self.device

    def get_current_stream(self, device: int) -> int:
        return 1000 + device

    def _load(self, *_: Any) -> tuple[Any, int, int, int, int]:
        self.loaded += 1
        return object(), self.loaded, 32, 0, 1024


@contextmanager
def stand_in(receive: Callable[..., Any] = lambda *_: None) -> Iterator[Card]:
    """Give Triton a :class:`Card`, and let maps in the host's memory take the fused forms.

    What is computed has no meaning. Afterwards Triton has forgotten the kernels that it compiled for it.
    """
    card, before = Card(receive), driver._active
    _forget()
    driver.set_active(card)
    try:
        with mock.patch.object(switch, 'why_not', return_value=None):
            yield card
    finally:
        driver.set_active(before)
        _forget()


def _forget() -> None:
    max_shared_mem.cache_clear()
    for kernel in kernels():
        kernel.device_caches.clear()


def kernels() -> list[Any]:
    """All kernels of the package, and the functions that they call."""
    names = [room.name for room in pkgutil.iter_modules(fused.__path__) if room.name.endswith('_kernels')]
    rooms = [importlib.import_module(f'{fused.__name__}.{name}') for name in names]
    return [value for room in rooms for value in vars(room).values() if isinstance(value, JITFunction)]


Launch = tuple[Any, tuple[int, int, int], tuple[Any, ...], dict[str, Any]]
"""A kernel, its grid, its arguments and its compile-time constants."""


def launches_of(step: Callable[[], Any]) -> list[Launch]:
    """What ``step`` launches, without a launch."""
    found: list[Launch] = []

    def look(kernel: Any, *args: Any, grid: Any, warmup: bool, **constants: Any) -> None:
        found.append((kernel, grid, args, constants))

    before = launcher.choose(None)
    with mock.patch.object(JITFunction, 'run', look):
        step()
    launcher.choose(before)
    return found


class Cost(NamedTuple):
    """Microseconds that the host takes, Triton's way and the short one.

    Attributes:
        number: How many launches a step has.
        launches: Of all of them.
        step: Of the whole step.
    """

    number: int
    launches: tuple[float, float]
    step: tuple[float, float]


def cost(step: Callable[[], Any], rounds: int) -> Cost:
    """Measure under :func:`stand_in`; the ways take turns in every round, and medians are told."""
    found = launches_of(step)

    def replay() -> None:
        for kernel, grid, args, constants in found:
            launcher.launch(kernel, grid, *args, **constants)

    return Cost(len(found), _medians(replay, rounds), _medians(step, rounds))


def _medians(step: Callable[[], Any], rounds: int) -> tuple[float, float]:
    ways = None, launcher.ShortWay()
    times: tuple[list[float], list[float]] = [], []
    before = launcher.choose(None)
    for _ in range(rounds + 2):  # the first two compile, and load
        for way, taken in zip(ways, times, strict=True):
            launcher.choose(way)
            begin = time.perf_counter()
            step()
            taken.append((time.perf_counter() - begin) * 1e6)
    launcher.choose(before)
    own, short = (median(taken[2:]) for taken in times)
    return own, short
