"""What an SCNet block does between its convolutions and norms, with fewer maps made and kept, on a CPU.

Each function has the numbers of its plain formula, and is that formula wherever somebody looks at its parts.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from inimg_mm.models.eager import autocast_dtype, is_eager, is_untouched


def two_projections(x: Tensor, first: nn.Module, second: nn.Module) -> tuple[Tensor, Tensor]:
    """``first(x), second(x)`` of two convolutions; one input gradient instead of two that are added.

    That is where both are 1x1, of stride 1, without bias and groups, and the maps in channels_last.
    """
    if (
        is_eager(x)
        and torch.is_grad_enabled()
        and x.requires_grad
        and x.device.type == 'cpu'
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.numel() > 0
        and is_untouched(first, second)
        and all(map(_is_projection, (first, second)))
        and x.dtype == first.weight.dtype == second.weight.dtype
        and autocast_dtype('cpu') is None
    ):
        return _TwoProjections.apply(x, first.weight, second.weight)
    return first(x), second(x)


def rectified_together(a: Tensor, b: Tensor, relu: nn.Module, last: nn.Module) -> Tensor:
    """``cat([last(relu(a)), last(relu(b))], dim=1)``; one map, in one walk, where ``last`` is an identity."""
    if (
        is_eager(a, b)
        and type(relu) is nn.ReLU
        and type(last) is nn.Identity
        and a.device.type == 'cpu'
        and a.dtype == b.dtype
        and is_untouched(relu, last)
    ):
        return _RectifiedTogether.apply(a, b)
    return torch.cat([last(relu(a)), last(relu(b))], dim=1)


def calibrated(x: Tensor, y: Tensor, small: Tensor, identity: bool) -> Tensor:
    """``x * sigmoid(y + up(small))``, or without y, keeping one map besides x and y.

    Args:
        x: (N, C, H, W).
        y: (N, C, H, W).
        small: (N, C, H', W'), upsampled to the nearest.
        identity: Whether y is added.
    """
    if (
        is_eager(x, y, small)
        and x.device.type == 'cpu'
        and x.dtype == y.dtype == small.dtype
        and autocast_dtype('cpu') is None
    ):
        return _Calibrated.apply(x, y, small, identity)
    return x * _calibration(y, small, identity)


def _is_projection(conv: nn.Module) -> bool:
    return (
        type(conv) is nn.Conv2d
        and conv.kernel_size == conv.stride == (1, 1)
        and conv.padding in ((0, 0), 'valid', 'same')
        and conv.groups == 1
        and conv.bias is None
    )


def _calibration(y: Tensor, small: Tensor, identity: bool) -> Tensor:
    up = F.interpolate(small, y.shape[2:])
    return torch.sigmoid(y + up if identity else up)


class _TwoProjections(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, first, second)
        return F.conv2d(x, first), F.conv2d(x, second)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        grad, weight = torch.cat(grads, 1), torch.cat(weights)
        of_x_needed, *of_weights_needed = ctx.needs_input_grad
        mask = [of_x_needed, any(of_weights_needed), False]
        geometry = [1, 1], [0, 0], [1, 1], False, [0, 0], 1
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry, mask)
        of_weights = (None, None) if of_weight is None else of_weight.split([len(part) for part in weights])
        return of_x, *of_weights


class _RectifiedTogether(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.channels = [a.shape[1], b.shape[1]]
        dense = a.is_contiguous(memory_format=torch.channels_last)
        out = torch.empty(
            (len(a), sum(ctx.channels), *a.shape[2:]),
            dtype=a.dtype,
            memory_format=torch.channels_last if dense else torch.contiguous_format,
        )
        for part, values in zip(out.split(ctx.channels, 1), (a, b), strict=True):
            torch.clamp_min(values, 0, out=part)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (out,) = ctx.saved_tensors
        parts = zip(grads[0].split(ctx.channels, 1), out.split(ctx.channels, 1), strict=True)
        return tuple(torch.ops.aten.threshold_backward(*part, 0) for part in parts)


class _Calibrated(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, small: Tensor, identity: bool) -> Tensor:
        gate = F.interpolate(small, y.shape[2:])
        if identity:
            gate.add_(y)
        gate.sigmoid_()
        ctx.save_for_backward(x, y, small, gate)
        ctx.identity = identity
        return x * gate

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (x, y, small, gate) = grads, ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives, the gate as a function of its inputs
            gate = _calibration(y, small, ctx.identity)
            of_gate = torch.ops.aten.sigmoid_backward(grad * x, gate)
        else:
            of_gate = grad * x
            torch.ops.aten.sigmoid_backward.grad_input(of_gate, gate, grad_input=of_gate)
        of_small = torch.ops.aten.upsample_nearest2d_backward(of_gate, y.shape[2:], small.shape, None, None)
        return grad * gate, of_gate if ctx.identity else None, of_small, None
