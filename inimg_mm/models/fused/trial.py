"""The first use of the kernels on a device: a small block's end, forward and backward, both ways."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import gate_trial
from .norm_act import NormAct
from .norms import NormCall
from .tail import Squeeze, State, Tail

SHAPE = (2, 24, 5, 6)


def difference(device: torch.device, dtype: torch.dtype, channels_last: bool) -> float:
    """How far the fused forms are from the plain formulas, in the worst of their results.

    Over the largest value, for a norm and its ReLU, a gated tail with a projection's norm, and gates, in
    training. Nothing is drawn from a random generator, and no statistics but those of the trial change.
    """
    inside = torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False)
    with inside[0], inside[1], inside[2]:
        norms = [nn.BatchNorm2d(SHAPE[1], device=device) for _ in range(2)]
        y, x = (_waves(speed, device, dtype, channels_last) for speed in (0.7, 0.9))
        affine = [_waves(speed, device, torch.float32, True)[0, :, 0, 0] for speed in (0.3, 0.4, 0.5, 0.6)]
        inputs = [tensor.requires_grad_() for tensor in (y, x, *affine)]
        exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
        fused = _with_gradients(_fused(*inputs, *norms), inputs)
        plain = _with_gradients(_plain(*exact), exact)
        far = [(a - b).abs().max() / b.abs().max() for a, b in zip(fused, plain, strict=True)]
        return max(float(torch.stack(far).max()), gate_trial.difference(device))


def _fused(y: Tensor, x: Tensor, w: Tensor, b: Tensor, w2: Tensor, b2: Tensor, *norms: Any) -> Tensor:
    call, call2 = (NormCall.of(norm) for norm in norms)
    active = NormAct.apply(y, w, b, call, True)
    state = State(call, call2, per_sample=True, averages=True)
    u, v, q, sums = Squeeze.apply(active, x, w, b, w2, b2, state)
    return Tail.apply(active, x, w, b, w2, b2, torch.sigmoid(u - v), q, sums, state)


def _plain(y: Tensor, x: Tensor, w: Tensor, b: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    residual = F.batch_norm(F.batch_norm(y, None, None, w, b, True).relu(), None, None, w, b, True)
    shortcut = F.batch_norm(x, None, None, w2, b2, True)
    g = torch.sigmoid(residual.mean((2, 3), keepdim=True) - shortcut.mean((2, 3), keepdim=True))
    return F.relu(shortcut + g * residual)


def _with_gradients(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    grad = _waves(0.8, out.device, torch.float64, False).to(out.dtype)
    return [out.detach().double(), *(g.double() for g in torch.autograd.grad(out, inputs, grad))]


def _waves(speed: float, device: torch.device, dtype: torch.dtype, channels_last: bool) -> Tensor:
    values = torch.arange(SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3], device=device, dtype=torch.float64)
    waves = torch.sin(values * speed).mul(1.5).add(0.2).view(SHAPE).to(dtype)
    return waves.contiguous(memory_format=torch.channels_last) if channels_last else waves
