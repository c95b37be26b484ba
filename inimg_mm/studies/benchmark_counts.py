"""What of a training step can be counted: what is kept for its backward pass, what a GPU launches for it."""

import pkgutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from inimg_mm.models import fused

CONVOLUTION, NORM, ELEMENTWISE, COPY, OTHER = KINDS = ('convolution', 'norm', 'elementwise', 'copy', 'other')
"""Kinds of kernels. Convolutions with the matrix products; norms with this project's fused kernels, which do
the elementwise work around a norm, too; copies with changes of layout and dtype; among others are sums and
pooling."""
WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (COPY, ('nchwtonhwc', 'nhwctonchw', 'converttensor', 'memcpy', 'memset')),
    (NORM, ('norm', 'bn_', '::bn')),
    (CONVOLUTION, ('conv', 'gemm', 'gemv', 'xmma', 'cutlass', 'wgrad', 'dgrad', 'winograd', 'nvjet')),
    (COPY, ('copy', 'transpose')),
    (ELEMENTWISE, ('elementwise',)),
)
"""Kinds by words in a kernel's name, in small letters; the first that is found tells, none means other."""
COMPILED_WORDS = ((CONVOLUTION, ('triton_tem',)), (NORM, ('norm',)), (ELEMENTWISE, ('triton_poi',)))
"""The same of what ``torch.compile`` writes, whose names list all that was put into one pass."""


class Kernels(NamedTuple):
    """What a GPU runs for one step, of one kind.

    Attributes:
        milliseconds: In the kernels alone.
        launches: How many kernels and copies.
    """

    milliseconds: float
    launches: int


def kind_of(kernel: str) -> str:
    """The kind of a kernel of torch, cuDNN, cuBLAS, ``torch.compile`` or this project by its name."""
    if kernel in _fused_kernels():
        return NORM
    small = kernel.lower()
    words = COMPILED_WORDS if small.startswith('triton_') else WORDS
    return next((kind for kind, some in words if any(word in small for word in some)), OTHER)


@cache
def _fused_kernels() -> frozenset[str]:
    """Names of this project's kernels; none without Triton."""
    modules = [each.name for each in pkgutil.iter_modules(fused.__path__) if each.name.endswith('_kernels')]
    try:
        found = [vars(import_module(f'{fused.__name__}.{name}')) for name in modules]
    except ImportError:
        return frozenset()
    return frozenset(name for names in found for name, value in names.items() if hasattr(value, 'fn'))


def by_kind(kernels: Iterable[tuple[str, float]]) -> dict[str, Kernels]:
    """Add up kernels, each a name and its milliseconds, by kind."""
    sums = {kind: [0.0, 0] for kind in KINDS}
    for name, milliseconds in kernels:
        entry = sums[kind_of(name)]
        entry[0] += milliseconds
        entry[1] += 1
    return {kind: Kernels(float(total), int(number)) for kind, (total, number) in sums.items()}


def total(kernels: dict[str, Kernels]) -> Kernels:
    """The kernels of all kinds."""
    milliseconds, launches = zip(*kernels.values(), strict=True)
    return Kernels(sum(milliseconds), sum(launches))


def kernels_of(step: Callable[[], None]) -> dict[str, Kernels]:
    """What the GPU runs for one step, by kind."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        step()
        torch.cuda.synchronize()
    return by_kind(
        (event.name, event.time_range.elapsed_us() / 1000)
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA and not getattr(event, 'is_user_annotation', False)
    )


@contextmanager
def kept_for_backward(net: nn.Module, image: Tensor) -> Iterator[list[int]]:
    """Count the bytes that a forward pass keeps for the backward pass, which cannot follow it then.

    A storage counts once however often it is kept; the net's parameters and buffers, and the image, which
    are there anyway, do not.

    Yields:
        A list, whose sum is that number.
    """
    there = {tensor.untyped_storage().data_ptr() for tensor in (*net.parameters(), *net.buffers(), image)}
    kept: dict[int, Any] = {}  # held, so that no address is given to another storage
    sizes: list[int] = []

    def pack(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address not in there and address not in kept:
            kept[address] = storage
            sizes.append(storage.nbytes())

    with saved_tensors_hooks(pack, lambda nothing: nothing):
        yield sizes
