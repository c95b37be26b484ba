"""The first use of the kernels on a device: one of each kind, forward and backward, both ways."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from . import gate_trial
from .calibrate import Calibrate
from .geometry import like
from .norm_act import NormAct
from .norms import NormCall
from .stem import Stem
from .tail_functions import Squeeze, Tail
from .tail_state import State

SHAPE = (2, 24, 5, 6)


def difference(device: torch.device, dtype: torch.dtype, channels_last: bool) -> float:
    """How far the fused forms are from the plain formulas, in the worst of their results.

    Over the largest value, for a norm and its ReLU, a gated tail with a projection's norm, a calibration, a
    stem and gates, in training. Nothing is drawn from a random generator, and no statistics but those of the
    trial change. What it keeps for its own backward passes no checkpoint around it makes again.
    """
    inside = torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False)
    with inside[0], inside[1], inside[2], saved_tensors_hooks(_itself, _itself):
        norms = [nn.BatchNorm2d(SHAPE[1], device=device) for _ in range(2)]
        y, x = (_waves(speed, device, dtype, channels_last) for speed in (0.7, 0.9))
        affine = [_waves(speed, device, torch.float32, True)[0, :, 0, 0] for speed in (0.3, 0.4, 0.5, 0.6)]
        block = _farthest(_block, _plain_block, (y, x, *affine), norms)
        maps = [_waves(speed, device, dtype, channels_last) for speed in (0.7, 0.8, 0.9)]
        maps[2] = like(y, maps[2][..., :2, :3].detach())
        calibration = _farthest(Calibrate.apply, _plain_calibration, (*maps, *affine), norms)
        signs = affine[0].sign()
        stem = _farthest(_stem, _plain_stem, (_levels(device, dtype, channels_last), signs, affine[1]), norms)
        return max(float(block), float(calibration), float(stem), gate_trial.difference(device))


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _farthest(fused: Any, plain: Any, tensors: tuple[Tensor, ...], norms: list[nn.BatchNorm2d]) -> Tensor:
    inputs = [tensor.requires_grad_() for tensor in tensors]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    found = _with_gradients(fused(*inputs, *(NormCall.of(norm) for norm in norms)), inputs)
    expected = _with_gradients(plain(*exact), exact)
    return torch.stack(
        [(a - b).abs().max() / b.abs().max() for a, b in zip(found, expected, strict=True)]
    ).max()


def _block(y: Tensor, x: Tensor, w: Tensor, b: Tensor, w2: Tensor, b2: Tensor, *calls: NormCall) -> Tensor:
    call, call2 = calls
    active = NormAct.apply(y, w, b, call, True)
    state = State(call, call2, per_sample=True, averages=True)
    u, v, q, sums = Squeeze.apply(active, x, w, b, w2, b2, state)
    return Tail.apply(active, x, w, b, w2, b2, torch.sigmoid(u - v), q, sums, state)


def _plain_block(y: Tensor, x: Tensor, w: Tensor, b: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    residual = F.batch_norm(F.batch_norm(y, None, None, w, b, True).relu(), None, None, w, b, True)
    shortcut = F.batch_norm(x, None, None, w2, b2, True)
    g = torch.sigmoid(residual.mean((2, 3), keepdim=True) - shortcut.mean((2, 3), keepdim=True))
    return F.relu(shortcut + g * residual)


def _plain_calibration(
    z3: Tensor, y: Tensor, z2: Tensor, w3: Tensor, b3: Tensor, w2: Tensor, b2: Tensor
) -> Tensor:
    up = F.interpolate(F.batch_norm(z2, None, None, w2, b2, True), y.shape[2:])
    return F.batch_norm(z3, None, None, w3, b3, True) * torch.sigmoid(y + up)


def _stem(y: Tensor, w: Tensor, b: Tensor, *calls: NormCall) -> Tensor:
    return Stem.apply(y, w, b, calls[0], 1, True)


def _plain_stem(y: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.max_pool2d(F.batch_norm(y, None, None, w, b, True).relu(), 3, 2, 1)


def _with_gradients(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    grad = _waves(0.8, out.device, torch.float64, False).to(out.dtype)[..., : out.shape[2], : out.shape[3]]
    return [out.detach().double(), *(g.double() for g in torch.autograd.grad(out, inputs, grad))]


def _waves(speed: float, device: torch.device, dtype: torch.dtype, channels_last: bool) -> Tensor:
    values = torch.arange(SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3], device=device, dtype=torch.float64)
    waves = torch.sin(values * speed).mul(1.5).add(0.2).view(SHAPE).to(dtype)
    return waves.contiguous(memory_format=torch.channels_last) if channels_last else waves


def _levels(device: torch.device, dtype: torch.dtype, channels_last: bool) -> Tensor:
    """A map whose pixels differ within every 3x3 window, by more than rounding can change."""
    n, c, h, w = (torch.arange(side, device=device) for side in SHAPE)
    rows, columns = (h[:, None] + c[:, None, None]) % 3, (w + n[:, None, None, None]) % 3
    levels = (3 * rows + columns).to(dtype)
    return levels.contiguous(memory_format=torch.channels_last) if channels_last else levels
