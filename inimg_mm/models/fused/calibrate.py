"""SCConv's calibration with the norms that precede it: ``norm3(z3) sigmoid(y + up(norm2(z2)))``.

``up`` is nearest upsampling; which cell a position reads is asked of torch once for each pair of sizes. With
t = norm3(z3) and l the sigmoid's input,

    dt = go sigmoid(l)        dl = dy = go t sigmoid(l) (1 - sigmoid(l))

and the gradient of norm2's output sums dl over the positions that read the same cell. Kept are z3, y and z2,
which has 1 / r^2 of their size.

Launches in training: 4 forward and 6 backward.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from .geometry import Geometry, dense, like
from .norm_act import affine_of
from .norms import NormCall, is_fusable
from .second_derivatives import gradients_of
from .switch import Fused, can_fuse


def calibrate_fuses(
    z3: Tensor, y: Tensor, z2: Tensor, norm3: nn.Module, norm2: nn.Module, fused: Fused = 'auto'
) -> bool:
    """Whether :func:`calibrate` gives the numbers of the plain formula."""
    return (
        can_fuse(fused, z3, y, z2)
        and is_fusable(norm3, z3, fused)
        and is_fusable(norm2, z2, fused)
        and y.shape == z3.shape
        and y.shape[:2] == z2.shape[:2]
        and y.dtype == z3.dtype == z2.dtype
    )


def calibrate(
    z3: Tensor, y: Tensor, z2: Tensor, norm3: nn.Module, norm2: nn.Module, identity: bool
) -> Tensor:
    """``norm3(z3) * sigmoid(y + up(norm2(z2)))``, or without y; :func:`calibrate_fuses` has allowed it.

    Args:
        z3: (N, C, H, W).
        y: (N, C, H, W).
        z2: (N, C, H', W'), not larger.
        norm3: Of ``z3``.
        norm2: Of ``z2``.
        identity: Whether y is added.
    """
    z3 = dense(z3)
    y, z2 = like(z3, y), like(z3, z2)
    affine = (norm3.weight, norm3.bias, norm2.weight, norm2.bias)
    calls = NormCall.of(norm3), NormCall.of(norm2)
    return Calibrate.apply(z3, y if identity else None, z2, *affine, *calls)


class Cells(NamedTuple):
    """Which cell each of a number of positions reads, in one direction.

    Attributes:
        cell: The cell of each position.
        first: The first position of each cell, and behind the last one's end.
        most: Positions of the cell that has most.
    """

    cell: Tensor
    first: Tensor
    most: int


@cache
def cells(number: int, positions: int, device: torch.device) -> Cells:
    """The cells that nearest upsampling from ``number`` to ``positions`` reads, as torch itself chooses.

    They stay where they are in memory: CUDA graphs read them.
    """
    with torch.inference_mode(False):
        ramp = torch.arange(number, dtype=torch.float32).view(1, 1, number, 1)
        index = F.interpolate(ramp, (positions, 1)).flatten().long()
        first = torch.searchsorted(index, torch.arange(number + 1))
        most = int(first.diff().max())
        return Cells(index.int().to(device), first.int().to(device), most)


class Calibrate(Function):
    """The fused form of :func:`calibrate`."""

    @staticmethod
    def forward(
        ctx: Any,
        z3: Tensor,
        y: Any,
        z2: Tensor,
        w3: Tensor,
        b3: Tensor,
        w2: Tensor,
        b2: Tensor,
        *calls: NormCall,
    ) -> Tensor:
        from . import calibration_passes, passes

        of_z3 = passes.Normed(z3, Geometry.of(z3, False), calls[0], w3, b3)
        of_z2 = passes.Normed(z2, Geometry.of(z2, False), calls[1], w2, b2)
        (norm3, _), (norm2, _) = passes.statistics_of_both(of_z3, of_z2)
        out = passes.empty_map(z3)
        calibration_passes.calibrate(z3, y, z2, norm3, norm2, out)
        ctx.save_for_backward(z3, y, z2, *norm3[:5], *norm2[:5])
        ctx.calls, ctx.output_again = calls, Calibrate.output_again
        return out

    @staticmethod
    def output_again(ctx: Any) -> Tensor:
        """The output, from what is kept."""
        from . import calibration_passes, passes

        z3, y, z2, *constants = ctx.saved_tensors
        call3, call2 = ctx.calls
        norm3, norm2 = passes.Affine.of(constants[:5], call3), passes.Affine.of(constants[5:], call2)
        out = passes.empty_map(z3)
        calibration_passes.calibrate(z3, y, z2, norm3, norm2, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        from . import backward_passes, calibration_passes, passes

        z3, y, z2, *constants = ctx.saved_tensors
        (call3, call2), needs = ctx.calls, ctx.needs_input_grad
        norm3, norm2 = passes.Affine.of(constants[:5], call3), passes.Affine.of(constants[5:], call2)
        affine = (norm3.weight, norm3.bias, norm2.weight, norm2.bias)
        if torch.is_grad_enabled():
            return *_again(z3, y, z2, affine, ctx.calls, grads[0], needs), None, None
        go, dl, dz3 = like(z3, grads[0]), passes.empty_map(z3), passes.empty_map(z3)
        maps = (go, z3, y, z2, norm3, norm2)
        rows = calibration_passes.gradients(*maps, dl=dl, dz3=dz3 if call3.running else None, sums=True)
        small, dz2 = passes.empty_map(z2), passes.empty_map(z2)
        calibration_passes.cell_sums(dl, small)
        flat = Geometry.of(z2, False)
        rows2 = backward_passes.gradient_sums(
            small, z2, flat, norm2, False, True, dy=dz2 if call2.running else None
        )
        first = backward_passes.Sums(rows.parts[0], rows.parts[1], norm3)
        second = backward_passes.Sums(rows2.parts[0], rows2.parts[1], norm2)
        affine3, affine2 = backward_passes.affine_gradients_of_both(first, second)
        if not call3.running:
            merged = backward_passes.over_processes(affine3, call3)
            calibration_passes.gradients(*maps, dz3=dz3, affine=merged)
        if not call2.running:
            merged = backward_passes.over_processes(affine2, call2)
            backward_passes.input_gradients(small, z2, flat, norm2, False, dz2, merged)
        own3 = affine_of(affine3, *affine[:2], needs[3:5])
        own2 = affine_of(affine2, *affine[2:], needs[5:7])
        return dz3, None if y is None else dl, dz2, *own3, *own2, None, None


def _again(
    z3: Tensor, y: Any, z2: Tensor, affine: tuple[Tensor, ...], calls: Any, grad: Tensor, needs: Any
) -> list[Tensor | None]:
    """The gradients of the first seven inputs by a formula that can be differentiated again."""
    inputs = (z3, z2, *affine) if y is None else (z3, z2, *affine, y)
    flags = (needs[0], *needs[2:7], *(() if y is None else needs[1:2]))

    def formula(z3: Tensor, z2: Tensor, w3: Tensor, b3: Tensor, w2: Tensor, b2: Tensor, *y: Tensor) -> Tensor:
        logits = F.interpolate(calls[1].formula(z2, w2, b2), z3.shape[2:])
        return calls[0].formula(z3, w3, b3) * torch.sigmoid(sum(y, logits))

    of_z3, of_z2, *own = gradients_of(formula, inputs, grad, flags)
    return [of_z3, None if y is None else own.pop(), of_z2, *own]
