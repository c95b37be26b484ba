"""The arithmetic of a gate of fully connected layers in one launch forward and two backward.

``g = sigmoid(W2 [relu(W1 u + b1); relu(V1 v)] + b2)`` over the streams' means u and v, (N, C): the SE gate,
which has one stream, and the double fully connected CMPE-SE gate, which has two and no biases.
"""

from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from inimg_mm.models.attention import SE, DoubleFC
from inimg_mm.models.eager import is_untouched

from .geometry import power_of_two
from .second_derivatives import gradients_where_given

WIDEST_CODE = 256
"""Values of a stream's code that a program can hold."""

Layers = tuple[Tensor, Tensor | None, Tensor | None, Tensor, Tensor | None]
"""W1 (R, C), b1, V1, W2 (C, R or 2R), b2."""


def layers_of(gate: nn.Module) -> Layers | None:
    """The weights of a gate whose arithmetic is fused; None for any other, and where a part is looked at."""
    found: Any = None
    if type(gate) is SE:
        found = _layers_of_se(gate.conv1, gate.conv2)
    elif type(gate) is DoubleFC:
        linears = (*gate.encoders, gate.decoder)
        if is_untouched(gate.encoders, *linears) and all(type(layer) is nn.Linear for layer in linears):
            first, second, last = (layer.weight for layer in linears)
            found = first, None, second, last, None
    if found is None or len(found[0]) > WIDEST_CODE:
        return None
    plain = all(w is None or (w.dtype == torch.float32 and w.is_contiguous()) for w in found)
    return found if plain else None


def _layers_of_se(first: Any, last: Any) -> Any:
    if not all(
        type(module) is ConvModule and module.order == ('conv', 'norm', 'act') for module in (first, last)
    ):
        return None
    convs = first.conv, last.conv
    if first.with_norm or last.with_norm or last.with_activation or type(first.activate) is not nn.ReLU:
        return None
    if not is_untouched(first, last, first.activate, *convs) or not all(type(c) is nn.Conv2d for c in convs):
        return None
    return convs[0].weight, convs[0].bias, None, convs[1].weight, convs[1].bias


def excite(means: list[Tensor], layers: Layers) -> Tensor:
    """The gate, (N, C), from one or two float32 means, each (N, C)."""
    w1, b1, v1, w2, b2 = layers
    flat = [None if w is None else w.flatten(1) for w in (w1, v1, w2)]
    return Excite.apply(means[0], means[1] if v1 is not None else None, flat[0], b1, flat[1], flat[2], b2)


class Excite(Function):
    """The fused form of :func:`excite`."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Any, w1: Tensor, b1: Any, v1: Any, w2: Tensor, b2: Any) -> Tensor:
        from . import gate_kernels, passes
        from .launcher import launch

        (n, c), r, k = u.shape, len(w1), w2.shape[1]
        buffer = passes.empty(n * (k + c), like=u)
        code, g = buffer[: n * k].view(n, k), buffer[n * k :].view(n, c)
        tensors = (u, v, w1, b1, v1, w2, b2, code, g)
        tile = layer_tile(r, c, v1 is not None)
        launch(gate_kernels.excite, (n, 1, 1), *tensors, c, r, k, **tile)
        ctx.save_for_backward(*tensors)
        return g

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            inputs = ctx.saved_tensors[:7]
            return gradients_where_given(_formula, inputs, grads[0], ctx.needs_input_grad)
        return layer_gradients(grads[0], *ctx.saved_tensors)


def layer_gradients(
    dg: Tensor, u: Tensor, v: Any, w1: Tensor, b1: Any, v1: Any, w2: Tensor, b2: Any, code: Tensor, g: Tensor
) -> tuple[Any, ...]:
    """The gradients of the means, (N, L), and of the layers: of all tensors from ``u`` to ``b2``."""
    from . import gate_kernels, passes
    from .launcher import launch

    (n, length), c, r, k = u.shape, g.shape[1], len(w1), w2.shape[1]
    tile = layer_tile(r, max(c, length), v1 is not None)
    sizes = n * c, n * k, n * length, 0 if v is None else n * length
    dz, dcode, du, dv = passes.empty(sum(sizes), like=u).split(sizes)
    given = (dg.contiguous(), g, code, w1, v1, w2)
    launch(gate_kernels.mean_gradients, (n, 1, 1), *given, dz, dcode, du, dv, c, length, r, k, **tile)
    own = [None if w is None else torch.empty_like(w) for w in (w1, b1, v1, w2, b2)]
    part = min(tile['BJ'], 64)
    grid = -(-max(c, length) // 16), -(-r // part), 1
    constants = dict(BN=32, BC=16, BJ=part)
    launch(gate_kernels.weight_gradients, grid, u, v, code, dz, dcode, *own, n, c, length, r, k, **constants)
    return du.view(n, length), None if v is None else dv.view(n, length), *own


def layer_tile(r: int, c: int, two: bool) -> dict[str, int]:
    """The tile of a program that has one sample: a code of ``r`` values a stream, and some of c channels."""
    codes = max(16, power_of_two(r))
    channels = max(64, min(256, (8192 if two and codes > 32 else 16384) // codes))
    return dict(BJ=codes, BK=min(channels, power_of_two(c)), num_warps=8 if codes <= 32 else 16)


def _formula(u: Tensor, v: Any, w1: Tensor, b1: Any, v1: Any, w2: Tensor, b2: Any) -> Tensor:
    codes = [F.relu(F.linear(u, w1, b1))]
    if v is not None:
        codes.append(F.relu(F.linear(v, v1)))
    return torch.sigmoid(F.linear(torch.cat(codes, 1), w2, b2))
