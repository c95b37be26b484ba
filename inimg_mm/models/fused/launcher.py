"""How kernels are started: Triton's way and, where it is asked for, a shorter one.

Triton binds and classifies a launch's arguments anew each time, which takes the host longer than many of
these kernels take a card. ``INIMG_MM_FAST_LAUNCH=1`` in the environment (read once) keeps what was compiled
for each class of arguments, and hands later arguments of that class to the launcher that Triton made.

What a class is and what a launcher takes are private to Triton: the short way is for :data:`TESTED` versions
alone. With another one, under the interpreter, and once anything about it fails, one line says so and all
launches are Triton's own; so is each launch while Triton has hooks on launches or is debugging.

No card has run the short way yet: a driver that stands for one shows that a launcher gets what Triton hands
it. The first use of the kernels on a device computes its small block the short way, too, see :mod:`.switch`.
"""

import logging
import os
from typing import Any, NamedTuple

from mmengine.logging import print_log

ENVIRONMENT = 'INIMG_MM_FAST_LAUNCH'
"""The environment variable that asks for the short way."""

TESTED = ('3.5.1', '3.6.0')
"""The versions of Triton whose launches were compared with the short way's."""


class Compiled(NamedTuple):
    """What Triton compiled for a class of arguments.

    Attributes:
        start: The launcher in C.
        fixed: What it takes between the stream and the kernel's arguments.
        constants: The last of those, which are compile-time constants.
    """

    start: Any
    fixed: tuple[Any, ...]
    constants: tuple[Any, ...]

    @classmethod
    def of(cls, made: Any, kernel: Any, number: int, constants: dict[str, Any]) -> 'Compiled | None':
        """From what a launch with ``number`` arguments returned; None where the short way is not for it."""
        run = made.run
        if made.metadata.target.backend != 'cuda' or run.global_scratch_size or run.profile_scratch_size:
            return None
        how, no_memory, no_hooks = (run.launch_cooperative_grid, run.launch_pdl), (None,) * 2, (None,) * 3
        fixed = made.function, *how, *no_memory, made.packed_metadata, *no_hooks
        last = (constants.get(param.name, param.default) for param in kernel.params[number:])
        return cls(run.launch, fixed, tuple(last))


class ShortWay:
    """What was compiled so far.

    Attributes:
        kernels: For each kernel, which of its arguments are of one class whatever their values, and what was
            compiled for each key of :meth:`find`.
    """

    def __init__(self) -> None:
        from triton import knobs
        from triton.runtime.driver import driver

        self.kernels: dict[Any, tuple[list[bool], dict[Any, Compiled | None]]] = {}
        self._settings, self._driver = knobs.runtime, driver

    def is_open(self, kernel: Any) -> bool:
        """Whether Triton does nothing more about a launch than to launch."""
        settings = self._settings
        enter, leave = settings.launch_enter_hook, settings.launch_exit_hook
        hooks = getattr(enter, 'calls', enter) or getattr(leave, 'calls', leave) or kernel.pre_run_hooks
        return not (hooks or settings.debug)

    def find(self, kernel: Any, args: tuple[Any, ...], constants: dict[str, Any]) -> tuple[Any, Any, Any]:
        """The current stream, what was compiled of ``kernel``, and the key to it.

        The key has all that Triton compiles for: the device, the constants, and each argument's class.
        """
        known = self.kernels.get(kernel)
        if known is None:
            known = self.kernels[kernel] = _unspecialised(kernel, len(args)), {}
        driver = self._driver.active
        device = driver.get_current_device()
        key = [device, *constants, *constants.values()]
        for arg, free in zip(args, known[0], strict=True):
            if arg is None:
                key.append(None)
            elif (kind := type(arg)) is int:
                if not -0x80000000 <= arg <= 0x7FFFFFFF:
                    key.append(arg)
                elif free or (arg % 16 and arg != 1):
                    key.append('int')
                else:
                    key.append('one' if arg == 1 else 'divisible')
            elif kind is float or kind is bool:
                key.append(kind)
            else:
                key.append(arg.dtype)
                if arg.data_ptr() % 16:
                    key.append('not aligned')
        return driver.get_current_stream(device), known[1], tuple(key)


def _unspecialised(kernel: Any, number: int) -> list[bool]:
    """For each of ``number`` arguments, whether no value of it compiles a kernel anew."""
    params = kernel.params
    if [param.is_constexpr for param in params] != [False] * number + [True] * (len(params) - number):
        raise TypeError(f'{kernel.__name__}: only compile-time constants, the last, may be given by name')
    return [param.do_not_specialize for param in params[:number]]


def obstacle() -> str | None:
    """Why no launch can take the short way, whoever asks for it; None where there is no reason."""
    try:
        import triton
    except ImportError as error:
        return f'Triton cannot be imported ({error})'
    if triton.__version__ not in TESTED:
        return f'Triton {triton.__version__} is not one of those tested ({", ".join(TESTED)})'
    return "Triton's interpreter has no launcher" if triton.knobs.runtime.interpret else None


def asked_for() -> ShortWay | None:
    """The short way if the environment asks for it; says why where it does in vain."""
    value = os.environ.get(ENVIRONMENT, '0')
    if value == '0':
        return None
    reason = obstacle() if value == '1' else f'{value!r} is neither 0 nor 1'
    _say(reason)
    return ShortWay() if reason is None else None


def _say(reason: str | None) -> None:
    state, level = ('on', logging.INFO) if reason is None else (f'off, {reason}', logging.WARNING)
    print_log(f'Fast launches of fused operations ({ENVIRONMENT}): {state}', 'current', level)


_short_way = asked_for()


def choose(way: ShortWay | None) -> ShortWay | None:
    """Take the short way where it is open or, with None, Triton's; returns what was chosen before."""
    global _short_way
    before, _short_way = _short_way, way
    return before


def is_short() -> bool:
    """Whether launches take the short way where it is open."""
    return _short_way is not None


def turn_off(reason: str) -> None:
    """Make all further launches Triton's own, and say why."""
    choose(None)
    _say(reason)


def launch(kernel: Any, grid: tuple[int, int, int], *args: Any, **constants: Any) -> None:
    """Start a kernel; every launch of this package comes through here."""
    way = _short_way
    if way is None:
        kernel[grid](*args, **constants)
        return
    compiled = known = None
    try:
        if way.is_open(kernel):
            x, y, z = grid
            stream, known, key = way.find(kernel, args, constants)
            compiled = known.get(key)
    except Exception as error:  # before anything was launched
        turn_off(f'{type(error).__name__}: {error}')
    if compiled is not None:
        start, fixed, last = compiled
        start(x, y, z, stream, *fixed, *args, *last)
        return
    made = kernel[grid](*args, **constants)
    if known is not None and made is not None:
        try:
            known[key] = Compiled.of(made, kernel, len(args), constants)
        except Exception as error:
            turn_off(f'{type(error).__name__}: {error}')
