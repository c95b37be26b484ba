"""Recording work on a GPU to repeat it, and leaving no other trace of that."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from inimg_mm.engine.hooks.exact_resume.order import generators_kept
from inimg_mm.errors import UsageError

Found = TypeVar('Found')


class CUDARecorder:
    """Records work as CUDA graphs, which share their memory.

    Args:
        device: The GPU.

    Raises:
        UsageError: If it is none.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != 'cuda':
            raise UsageError(
                f'inimg_mm.CUDAGraphHook needs a CUDA device, and the model is on {device}: '
                'leave the hook out of custom_hooks'
            )
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Have what is inside run on the stream that is recorded: the default one cannot be."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def record(self, work: Callable[[], Found]) -> tuple[Found, Callable[[], None]]:
        """Record ``work``, which is not done by that.

        Args:
            work: Launches kernels alone: nothing in it waits for the GPU. It has run before.

        Returns:
            What it returned, whose tensors have no values yet, and a function that does the work again, from
            and to the same memory.
        """
        graph = torch.cuda.CUDAGraph()
        # threads of data loaders and of NCCL may go on as they like meanwhile
        with torch.cuda.graph(graph, self._pool, self._stream, 'thread_local'):
            found = work()
        return found, graph.replay


@contextmanager
def undisturbed(net: nn.Module, device: torch.device) -> Iterator[None]:
    """Leave a net's buffers (running statistics, counters) and all random generators as they are."""
    kept = [(buffer, buffer.clone()) for buffer in net.buffers()]
    with generators_kept(), torch.random.fork_rng([device] if device.type == 'cuda' else []):
        try:
            yield
        finally:
            for buffer, value in kept:
                buffer.data.copy_(value)  # not a change: who saved it for a backward pass has it as it was


def random_states(device: torch.device) -> list[Any]:
    """The states of all random generators, to compare."""
    numbers: Any = np.random.get_state()
    states = [torch.get_rng_state()]
    if device.type == 'cuda':
        states.append(torch.cuda.get_rng_state(device))
    return [random.getstate(), numbers[1].tolist(), numbers[2], *(state.tolist() for state in states)]
