"""The first use on a device of the gates' own kernels: two gates, forward and backward, both ways."""

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor

from inimg_mm.models.attention import DoubleFC, InnerImaging

from .gates import weigh

CHANNELS = 24


@cache
def difference(device: torch.device) -> float:
    """How far the kernels are from the gates' formulas in float64, over the largest value of each result.

    Autocast is off, and no random generator is another afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        gates = DoubleFC(CHANNELS, 2), InnerImaging(CHANNELS, filters=((2, 1),), fold=8, maps=2, reduction=2)
    return max(_farthest(gate.to(device)) for gate in gates)


def _farthest(gate: Any) -> float:
    for speed, weight in enumerate(gate.parameters(), start=1):
        weight.data.copy_(_waves(0.3 * speed, *weight.shape, like=weight) / weight[0].numel() ** 0.5)
    exact = copy.deepcopy(gate).double()
    means = [_waves(speed, 2, CHANNELS, like=gate.decoder.weight) for speed in (0.7, 0.9)]
    found = _with_gradients(lambda *means: weigh(gate, list(means)), gate, means)
    formula = _with_gradients(
        lambda *means: exact.excite(*(mean[..., None, None] for mean in means)).flatten(1),
        exact,
        [mean.double() for mean in means],
    )
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, formula, strict=True))


def _with_gradients(function: Any, gate: Any, means: list[Tensor]) -> list[Tensor]:
    inputs = [mean.requires_grad_() for mean in means]
    out = function(*inputs)
    grad = _waves(0.8, *out.shape, like=out)
    return [out.detach(), *torch.autograd.grad(out, [*inputs, *gate.parameters()], grad)]


def _waves(speed: float, *shape: int, like: Tensor) -> Tensor:
    values = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(values * speed).add(0.3).view(shape).to(like)
