"""Which calls of a backbone a recorded graph answers, and how it stands in autograd."""

import logging
from functools import partial
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.modules.module import _has_any_global_hook
from torch.utils import _pytree as pytree

from inimg_mm.errors import UsageError
from inimg_mm.models.eager import HOOKS, autocast_dtype, is_eager

from .passes import Passes
from .recording import CUDARecorder, random_states, undisturbed

WARM_UP = 2
"""Passes before a recording, besides the one that finds out what depends on what."""

TOLERANCE = 1e-2
"""How far the first replay may be from the passes before it, over the largest value of each tensor."""


class Call(NamedTuple):
    """What a graph is recorded for: it answers calls that are equal in all of this.

    Attributes:
        image: Shape, strides, dtype and device of the input, and the dtype of mixed precision.
        net: Every module's mode; every parameter's and buffer's place in memory, and whether it learns.
    """

    image: tuple[Any, ...]
    net: tuple[Any, ...]


class GraphedBackbone:
    """A backbone's ``forward`` that records a graph when a shape comes twice in a row, and replays it.

    Everything else runs eagerly: other shapes, without gradients, in eval mode, while a part has a hook or
    something rewrites the operations, and a second call before the first one's backward pass.

    Args:
        net: The backbone. Its ``forward`` is left as it is.
        recorder: What records; for tests.
    """

    def __init__(self, net: nn.Module, recorder: CUDARecorder) -> None:
        self.graph: Graph | None = None
        self._net, self._recorder = net, recorder
        self._eager = partial(type(net).forward, net)
        self._modules = list(net.modules())
        self._hooks = [getattr(module, hooks) for module in self._modules for hooks in HOOKS]
        self._last: Call | None = None
        self._failed = False

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The outputs of the backbone."""
        if options or len(args) != 1 or not self._is_training_step(args[0]):
            return self._eager(*args, **options)
        image, call = args[0], self._call(args[0])
        if self.graph is not None and self.graph.call.net != call.net:
            self.graph = None
        if self.graph is None and call == self._last and not self._failed:
            self._record(image, call)
        self._last = call
        if self.graph is None or self.graph.call != call or self.graph.waits_for_backward:
            return self._eager(image)
        return self.graph(image)

    def begin_iteration(self) -> None:
        """Forget a forward pass whose backward pass never came."""
        if self.graph is not None:
            self.graph.waits_for_backward = False

    def _is_training_step(self, image: Any) -> bool:
        return (
            isinstance(image, Tensor)
            and self._net.training
            and torch.is_grad_enabled()
            and not image.requires_grad
            and is_eager(image)
            and not any(self._hooks)
            and not _has_any_global_hook()
        )

    def _call(self, image: Tensor) -> Call:
        tensors = [
            (tensor.data_ptr(), tensor.requires_grad)
            for module in self._modules
            for held in (module._parameters, module._buffers)
            for tensor in held.values()
            if tensor is not None
        ]
        kind = image.device.type
        shape = (image.shape, image.stride(), image.dtype, image.device, autocast_dtype(kind))
        return Call(shape, (tuple(module.training for module in self._modules), tuple(tensors)))

    def _record(self, image: Tensor, call: Call) -> None:
        size = 'x'.join(map(str, image.shape))
        try:
            with undisturbed(self._net, image.device):
                graph, far = _recorded(self._net, image, call, self._recorder)
        except RuntimeError as error:  # whatever cannot be recorded, or finds no memory
            reason = str(error).strip().splitlines()[:1]
            self._give_up(f'a step of {size} cannot be recorded: {type(error).__name__}: {reason}')
            return
        if not far <= TOLERANCE:
            self._give_up(f'the first replay of a step of {size} was {far:.0e} from the step')
            return
        self.graph = graph
        print_log(f"CUDAGraphHook: the backbone's passes are a graph from now on, for {size}", 'current')

    def _give_up(self, reason: str) -> None:
        self._failed = True
        print_log(f'CUDAGraphHook: the backbone runs eagerly, {reason}', 'current', logging.WARNING)


class Graph:
    """The recorded passes.

    Args:
        passes: What was recorded.
        call: For what calls.
        recorder: What records.

    Attributes:
        waits_for_backward: Whether the memory holds a forward pass whose backward pass is to come.
        replays: How often the forward pass was replayed.
    """

    def __init__(self, passes: Passes, call: Call, recorder: CUDARecorder) -> None:
        self.call = call
        self.waits_for_backward = False
        self.replays = 0
        self.passes = passes
        self.outputs, self._forward = recorder.record(passes.forward)
        self.gradients, self._backward = recorder.record(passes.backward)

    def __call__(self, image: Tensor) -> Any:
        """The outputs for ``image``; the next call overwrites them."""
        outputs = _Replay.apply(self, image, *self.passes.parameters)
        return pytree.tree_unflatten(outputs, self.passes.form)

    def forward(self, image: Tensor) -> None:
        """Replay the forward pass."""
        self.passes.image.copy_(image)
        self._forward()
        self.replays += 1
        self.waits_for_backward = True

    def backward(self, turn: int, grads: list[Tensor | None]) -> list[Tensor | None]:
        """Replay the backward pass.

        Args:
            turn: Which of the ``replays`` it belongs to.
            grads: One for each output that needs a gradient; None where nothing was computed from it.

        Returns:
            The parameters' gradients, copied: the memory is written to again, and autograd keeps what it
            gets as ``.grad``, to which it adds the next. None where the eager pass gives none.

        Raises:
            RuntimeError: If the memory does not hold that forward pass any more.
        """
        if turn != self.replays or not self.waits_for_backward:
            raise RuntimeError(
                'inimg_mm.CUDAGraphHook: a backbone in a graph has one backward pass for each forward pass, '
                'before the next one: leave the hook out for retain_graph=True'
            )
        self.waits_for_backward = False
        own = [grad for grad in self.passes.output_grads if grad is not None]
        for static, grad in zip(own, grads, strict=True):
            static.zero_() if grad is None else static.copy_(grad)
        self._backward()
        used = [reached for reached, grad in zip(self.passes.reached, grads, strict=True) if grad is not None]
        arrived = [
            gradient if any(reached[i] for reached in used) else None
            for i, gradient in enumerate(self.gradients)
        ]
        found = [gradient for gradient in arrived if gradient is not None]
        copies = [torch.empty_like(gradient) for gradient in found]
        torch._foreach_copy_(copies, found)
        rest = iter(copies)
        return [None if gradient is None else next(rest) for gradient in arrived]


class _Replay(Function):
    """The whole backbone as one operation on its input and parameters."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, image: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        graph.forward(image)
        ctx.graph, ctx.turn = graph, graph.replays
        ctx.set_materialize_grads(False)
        outputs = tuple(out.detach() for out in graph.outputs)
        ctx.learns = [grad is not None for grad in graph.passes.output_grads]
        frozen = (out for out, learns in zip(outputs, ctx.learns, strict=True) if not learns)
        ctx.mark_non_differentiable(*frozen)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        wanted = [grad for grad, learns in zip(grads, ctx.learns, strict=True) if learns]
        return None, None, *ctx.graph.backward(ctx.turn, wanted)


def _recorded(net: nn.Module, image: Tensor, call: Call, recorder: CUDARecorder) -> tuple[Graph, float]:
    """A graph, and how far its first replay is from the passes that it stands for.

    Raises:
        UsageError: If the passes draw random numbers.
    """
    with recorder.beside():
        before = random_states(image.device)
        passes = Passes(net, image)
        for _ in range(WARM_UP):
            outputs, gradients = passes.forward(), passes.backward()
        if random_states(image.device) != before:
            raise UsageError(
                'inimg_mm.CUDAGraphHook: the backbone draws random numbers in every step, and a graph would '
                'not draw those of the eager step: leave the hook out of custom_hooks'
            )
        expected = [None if tensor is None else tensor.detach().clone() for tensor in (*outputs, *gradients)]
        del outputs, gradients
        graph = Graph(passes, call, recorder)
    graph.forward(image)
    graph._backward()
    graph.waits_for_backward = False
    found = [*graph.outputs, *graph.gradients]
    pairs = [(a.detach(), b) for a, b in zip(found, expected, strict=True) if a is not None and b is not None]
    return graph, max(map(_distance, pairs))


def _distance(pair: tuple[Tensor, Tensor]) -> float:
    found, expected = (tensor.float().nan_to_num() for tensor in pair)
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
