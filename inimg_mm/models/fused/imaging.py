"""The arithmetic of an inner-imaging gate in three launches forward and five backward.

With p the patches of the inner image, P in all, and w_j the filters of its banks, M in all, the banks are one
filter (see :mod:`inimg_mm.models.attention.collapsed_bank`):

    map = e . (p - E[p]) + mean_j beta_j            e = mean_j gamma_j r_j w_j
    g = sigmoid(W2 relu(W1 map))                    r_j = 1 / sqrt(w_j' Cov(p) w_j + eps)

With d the map's gradient and s its sum, t = sum of d (p - E[p]), and D = sum_j dvar_j w_j w_j', backward

    dgamma_j = r_j w_j . t / M      dvar_j = -r_j^3 gamma_j w_j . t / 2M      dbeta_j = s / M
    dw_j = gamma_j r_j t / M + 2 dvar_j Cov(p) w_j      dp = e (d - s / P) + 2 D (p - E[p]) / P

and a pixel's gradient is the sum over the patches that hold it. Patches, moments, filter, map and their
gradients are computed in float64, from means in float32.

Launches: 3 forward and 5 backward; 2 and 5 with running statistics, 2 and 3 where the banks are frozen, too.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from inimg_mm.models.attention import InnerImaging
from inimg_mm.models.attention.collapsed_bank import Window
from inimg_mm.models.attention.inner_image import InnerImage
from inimg_mm.models.attention.inner_imaging import GroupingFilter
from inimg_mm.models.eager import is_untouched

from .excitation import WIDEST_CODE, layer_gradients
from .norms import NormCall, obstacle
from .second_derivatives import gradients_where_given

MOST_BANKS = 3
"""Banks that the kernels have arguments for."""
WIDEST_WINDOW = 16
"""Values of a patch that a program can hold the covariance of."""


class Picture(NamedTuple):
    """How a gate looks at its means.

    Attributes:
        image: Where each mean is in the image.
        window: What a patch holds.
        places: Height and width of the condensed map.
        paddings: Of each bank.
        calls: What each bank's norm does.
    """

    image: InnerImage
    window: Window
    places: tuple[int, int]
    paddings: tuple[tuple[int, ...], ...]
    calls: tuple[NormCall, ...]

    @property
    def values(self) -> int:
        """Values of a patch."""
        return self.window.height * self.window.width

    @property
    def length(self) -> int:
        """Positions of the condensed map."""
        return self.places[0] * self.places[1]


def picture_of(gate: nn.Module, mean: Tensor) -> Picture | None:
    """How the gate looks at means like ``mean``, (N, C); None where it is called as it is.

    So is a gate with a code for each bank, with statistics that several processes share, or with parts that
    somebody looks at; and one that sees a single patch, of which torch takes no statistics.
    """
    if type(gate) is not InnerImaging or len(gate.encoders) > 1 or len(gate.filters) > MOST_BANKS:
        return None
    banks: list[Any] = list(gate.filters)
    if not all(type(bank) is GroupingFilter and type(bank.conv) is nn.Conv2d for bank in banks):
        return None
    norms = [bank.norm for bank in banks]
    linears = gate.encoders[0], gate.decoder
    looked_at = gate.filters, gate.encoders, *banks, *(bank.conv for bank in banks), *linears
    if not is_untouched(*looked_at) or not all(type(layer) is nn.Linear for layer in linears):
        return None
    if any(obstacle(norm, True) is not None for norm in norms):
        return None
    calls = tuple(NormCall.of(norm) for norm in norms)
    window = Window.around(banks)
    picture = Picture(
        gate.image, window, window.places(gate.image.shape), tuple(b.padding for b in banks), calls
    )
    fits = (
        picture.values <= WIDEST_WINDOW
        and len(gate.encoders[0].weight) <= WIDEST_CODE
        and len({(call.running, call.eps) for call in calls}) == 1
        and all(call.group is None for call in calls)
        and (calls[0].running or len(mean) * picture.length > 1)
        and all(_is_plain(weight, mean) for weight in _weights_of(gate))
    )
    return picture if fits else None


def excite_image(means: list[Tensor], gate: Any, picture: Picture) -> Tensor:
    """The gate, (N, C), from one or two float32 means, each (N, C)."""
    second = means[1] if len(means) == 2 else None
    return ExciteImage.apply(picture, means[0], second, *_weights_of(gate))


def _weights_of(gate: Any) -> list[Tensor]:
    """W1, W2, and filters, gamma and beta of each bank."""
    banks = [
        weight for bank in gate.filters for weight in (bank.conv.weight, bank.norm.weight, bank.norm.bias)
    ]
    return [gate.encoders[0].weight, gate.decoder.weight, *banks]


def _is_plain(weight: Tensor, mean: Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.is_contiguous() and weight.device == mean.device


class ExciteImage(Function):
    """The fused form of :func:`excite_image`."""

    @staticmethod
    def forward(ctx: Any, picture: Picture, u: Tensor, v: Any, *weights: Tensor) -> Tensor:
        from . import image_passes

        w1, w2, *banks = weights
        condenser = image_passes.effective_filter(picture, u, v, banks)
        condensed, code, g = image_passes.excite(picture, u, v, condenser, w1, w2)
        ctx.save_for_backward(u, v, *weights, *condenser, condensed, code, g)
        ctx.picture = picture
        return g

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        from . import image_passes

        picture, needs = ctx.picture, ctx.needs_input_grad[1:]
        u, v, w1, w2, *rest = ctx.saved_tensors
        number = 3 * len(picture.calls)
        banks = rest[:number]
        if torch.is_grad_enabled():

            def formula(*given: Any) -> Tensor:
                return _formula(picture, *given)

            return None, *gradients_where_given(formula, (u, v, w1, w2, *banks), grads[0], needs)
        *tensors, condensed, code, g = rest[number:]
        condenser = image_passes.Condenser(*tensors)
        dmap, _, dw1, _, _, dw2, _ = layer_gradients(
            grads[0], condensed, None, w1, None, None, w2, None, code, g
        )
        own: list[Any] = [None] * number
        moments = None
        if not picture.calls[0].running or any(needs[4:]):
            own, moments = image_passes.filter_gradients(picture, u, v, dmap, condenser, banks)
        du, dv = image_passes.image_gradients(picture, u, v, dmap, condenser, moments)
        return None, du, dv, dw1, dw2, *own


def _formula(picture: Picture, u: Tensor, v: Any, w1: Tensor, w2: Tensor, *banks: Tensor) -> Tensor:
    means = (u,) if v is None else (u, v)
    image = picture.image.render(tuple(mean[..., None, None] for mean in means))
    maps = []
    for i, (padding, call) in enumerate(zip(picture.paddings, picture.calls, strict=True)):
        filters, *affine = banks[3 * i : 3 * i + 3]
        maps.append(call.formula(F.conv2d(F.pad(image, padding), filters), *affine).mean(1))
    condensed = torch.stack(maps).mean(0).flatten(1)
    return torch.sigmoid(F.linear(F.relu(F.linear(condensed, w1)), w2))
