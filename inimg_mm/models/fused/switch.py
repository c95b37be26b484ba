"""Whether blocks take their fused forms: a config's ``fused``, the environment, and what the machine can do.

* ``fused=False``: the plain formulas. This is the default until a card has run the kernels.
* ``fused='auto'``: on a CUDA device with Triton, where the numbers are the same.
* ``fused=True``: also for SyncBN over several processes, and under Triton's interpreter
  (``TRITON_INTERPRET=1``) on a CPU, which is slow and proves the kernels. Where nothing can be fused, a
  warning says why.

``INIMG_MM_FUSED=0`` in the environment turns all off. ``INIMG_MM_FAST_LAUNCH=1`` launches the kernels a
shorter way than Triton's, with a version of Triton for which that was tested: :mod:`.launcher`. It is off by
default, and no card has run it either.

No card has run these kernels yet: the interpreter proved their numbers, the compiler their code. So the first
use on a device, of each dtype and layout, computes a small block both ways, forward and backward; where that
fails or differs (no C compiler, an unknown card, a Triton that compiles something else), one line says so and
the plain formulas stay.
"""

import logging
import os
from functools import cache
from typing import Any, Literal

import torch
from mmengine.logging import print_log
from torch import Tensor

from inimg_mm.errors import UsageError
from inimg_mm.models.eager import is_eager

Fused = Literal['auto', True, False]

ENVIRONMENT = 'INIMG_MM_FUSED'
"""The environment variable that turns all off."""

TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How far the first use may be from the plain formula, over the largest value."""


def checked_switch(fused: Any) -> Fused:
    """Check the argument of a backbone.

    Raises:
        UsageError: If it is none of the three choices.
    """
    if fused is True or fused is False or fused == 'auto':
        return fused
    raise UsageError(f"fused must be 'auto', True or False, got {fused!r}")


def can_fuse(fused: Fused, y: Tensor, *others: Tensor) -> bool:
    """Whether a map like ``y`` may take a fused form at all; what it goes through decides further.

    Not while something traces or rewrites the operations on it and on ``others``, see :func:`.is_eager`.
    """
    if fused is False or not (y.is_cuda or fused is True) or not is_eager(y, *others):
        return False
    return why_not(fused, y) is None


def why_not(fused: Fused, y: Tensor) -> str | None:
    """The reason, as the end of a sentence, for which a map like ``y`` takes the plain formulas, or None."""
    if fused is False:
        return 'fused=False'
    if os.environ.get(ENVIRONMENT) == '0':
        return f'{ENVIRONMENT}=0'
    if y.dtype not in TOLERANCE:
        return f'there is no fused form for {str(y.dtype).removeprefix("torch.")}'
    if y.is_cuda and y.device.index != torch.cuda.current_device():
        return f'{y.device} is not the current device'
    last = y.is_contiguous(memory_format=torch.channels_last)
    return _reason(y.device.type, y.device.index, y.dtype, last, fused)


@cache
def _reason(
    kind: str, index: int | None, dtype: torch.dtype, channels_last: bool, fused: Fused
) -> str | None:
    reason = _machine(kind, index, dtype, fused)
    if reason is None:
        device = torch.device(kind) if index is None else torch.device(kind, index)
        reason = _trial(device, dtype, channels_last)
    layout = 'channels_last' if channels_last else 'NCHW'
    what = f'Fused operations on {kind} ({str(dtype).removeprefix("torch.")}, {layout})'
    if reason is None:
        print_log(f'{what}: on; {ENVIRONMENT}=0 turns them off', 'current')
    else:
        print_log(f'{what}: off, {reason}', 'current', logging.WARNING if fused is True else logging.INFO)
    return reason


def _machine(kind: str, index: int | None, dtype: torch.dtype, fused: Fused) -> str | None:
    """What speaks against this machine, before anything is launched."""
    try:
        from .map_kernels import apply
    except ImportError as error:
        return f'Triton cannot be imported ({error})'
    if not hasattr(torch.autograd.graph, 'increment_version'):
        return f'torch {torch.__version__} is too old'
    if kind == 'cpu' and fused is True:
        interpreted = type(apply).__name__ == 'InterpretedFunction'
        return None if interpreted else 'a CPU has them under TRITON_INTERPRET=1 only'
    if kind != 'cuda':
        return f'there are none for {kind}'
    if torch.version.hip is not None:
        return 'they were written for CUDA, and this is ROCm'
    if dtype is torch.bfloat16 and torch.cuda.get_device_capability(index) < (8, 0):
        return 'bfloat16 needs compute capability 8.0'
    return None


def _trial(device: torch.device, dtype: torch.dtype, channels_last: bool) -> str | None:
    """What speaks against the kernels on ``device``: a small block is computed both ways.

    Where launches are fast, twice: those of the second time all take the short way. If that is what fails,
    it is turned off, and the third time counts.
    """
    from . import launcher

    reason = _difference(device, dtype, channels_last)
    if launcher.is_short():
        reason = reason or _difference(device, dtype, channels_last)
        if reason is not None:
            launcher.turn_off(reason)
            reason = _difference(device, dtype, channels_last)
    return reason


def _difference(device: torch.device, dtype: torch.dtype, channels_last: bool) -> str | None:
    from .trial import difference

    try:
        far = difference(device, dtype, channels_last)
    except Exception as error:  # whatever a compiler or a driver may say
        return f'the first use failed: {type(error).__name__}: {str(error).strip().splitlines()[:1]}'
    if not far <= TOLERANCE[dtype]:
        return f'the first use was {far:.0e} from the plain formula'
    return None
