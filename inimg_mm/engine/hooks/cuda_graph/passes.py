"""The two passes of a backbone over memory that stays where it is, as a graph needs it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from inimg_mm.models.eager import autocast_dtype


class Passes:
    """Forward and backward of a backbone, from and to tensors that are its own.

    The parameters are replaced by aliases of the same memory. Gradients are asked of these: the parameters'
    own accumulators, at which DDP waits and which belong to the default stream, are never reached. So a graph
    can be recorded although DDP has wrapped the model, as mmengine does before any hook is there.

    Args:
        net: The backbone.
        image: The input, (N, C, H, W).

    Attributes:
        image: The input is written here.
        parameters: Those that learn.
        output_grads: The gradients of the outputs are written here; None for one that needs none.
        reached: For each output that needs a gradient, whether it depends on each of the parameters.
        form: How the outputs are nested.
    """

    def __init__(self, net: nn.Module, image: Tensor) -> None:
        self.image = image.detach().clone()
        self._net = _Plain(net)
        learning = {name: p for name, p in self._net.named_parameters() if p.requires_grad}
        self.parameters = list(learning.values())
        self._aliases = {name: p.detach().requires_grad_() for name, p in learning.items()}
        dtype = autocast_dtype(image.device.type)
        # weights that were cast before, outside of the graph, would not follow the parameters
        self._precision: dict[str, Any] = dict(
            device_type=image.device.type, dtype=dtype, enabled=dtype is not None, cache_enabled=False
        )
        self._outputs: list[Tensor] = []
        outputs = self.forward()
        self.output_grads = [_seed(out) if out.requires_grad else None for out in outputs]
        self.reached = [
            [gradient is not None for gradient in self._gradients([out], [grad], retain_graph=True)]
            for out, grad in zip(outputs, self.output_grads, strict=True)
            if grad is not None
        ]
        self._outputs = []  # and with them all that was kept to go back twice

    def forward(self) -> list[Tensor]:
        """The outputs for ``image``."""
        with torch.autocast(**self._precision), torch.enable_grad():
            outputs = functional_call(self._net, self._aliases, (self.image,))
        self._outputs, self.form = pytree.tree_flatten(outputs)
        return self._outputs

    def backward(self) -> list[Tensor | None]:
        """The gradients of ``parameters``, after :meth:`forward`; None where no gradient comes."""
        pairs = [pair for pair in zip(self._outputs, self.output_grads, strict=True) if pair[1] is not None]
        outputs, grads = zip(*pairs, strict=True)
        return list(self._gradients(outputs, grads))

    def _gradients(self, outputs: Any, grads: Any, **options: bool) -> tuple[Tensor | None, ...]:
        aliases = list(self._aliases.values())
        return torch.autograd.grad(outputs, aliases, grads, allow_unused=True, **options)


class _Plain(nn.Module):
    """A net whose own ``forward`` runs, whatever has been put in its place."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Any:
        return type(self.net).forward(self.net, image)


def _seed(out: Tensor) -> Tensor:
    """A gradient for an output to try with, small enough for half precision."""
    return out.detach() / out.numel() ** 0.5
