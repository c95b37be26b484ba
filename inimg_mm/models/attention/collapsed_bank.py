"""A bank of grouping filters as one filter, in training too.

A bank's maps ``z_j = w_j . p`` are linear in the image's patch p (as many values as the kernel), and batch
norm asks of each only its mean and its variance over all patches. Those follow from the patches' own:

    mean(z_j) = w_j . E[p]            var(z_j) = w_j' Cov(p) w_j

So the mean over j of the normed maps is one filter over the centred patches, and a constant:

    e . (p - E[p]) + mean_j beta_j    with  e = mean_j (gamma_j / sqrt(var(z_j) + eps)) w_j

Banks that are averaged into one map share their patches: a smaller kernel is a larger one with zeros around.
This is exact, gradients included, and no map but the last is made. All of it is in float64: the squares of
nearly constant or nearly equal rows cancel, and in float32 the filter can be wrong where the maps are right.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from inimg_mm.models.eager import is_eager, is_untouched

from .patch_moments import Moments, patches_of

if TYPE_CHECKING:
    from .inner_imaging import GroupingFilter

DEVICES = ('cpu', 'cuda')
"""Device types that surely compute in float64."""
LEAST_VALUES = {1: 2**17, 2: 2**15}
"""Values in all the maps of one or two banks from which on one filter is faster; of three banks it always is.

Measured on a CPU, forward and backward."""
RUNNING = ('running_mean', 'running_var')


def collapses(banks: 'Sequence[GroupingFilter]', image: Tensor) -> bool:
    """Whether :func:`condense` may, and should, stand for the banks' own convolutions and norms.

    It may where the norms are batch norms of one kind and nobody looks at what they and the convolutions
    compute. It should where the maps are large enough, a question of shapes alone; where statistics are
    shared between processes it always should, because all must do the same whatever their batches.

    Args:
        banks: Banks whose maps have one size.
        image: (N, 1, H, W).
    """
    convs, norms = [bank.conv for bank in banks], [bank.norm for bank in banks]
    if not is_eager(image) or image.device.type not in DEVICES or not is_untouched(*convs, *norms):
        return False
    if not all(type(conv) is nn.Conv2d for conv in convs) or not all(map(_is_batch_norm, norms)):
        return False
    if len({_kind(norm) for norm in norms}) > 1:
        return False
    if _shared_by(norms[0]) is not None:
        return True
    positions = len(image) * math.prod(Window.around(banks).places(image.shape[2:]))
    values = positions * sum(len(conv.weight) for conv in convs)
    # for one value a channel the norm has an error of its own
    return positions > 1 and values >= LEAST_VALUES.get(len(banks), 0)


def condense(banks: 'Sequence[GroupingFilter]', image: Tensor) -> Tensor:
    """The mean of the banks' condensed maps, each the mean of its normed maps.

    The norms' running statistics and counters are updated as by the norms themselves.

    Args:
        banks: Banks for which :func:`collapses` holds.
        image: (N, 1, H, W).

    Returns:
        (N, 1, H', W').
    """
    window, norms = Window.around(banks), [bank.norm for bank in banks]
    patches = patches_of(F.pad(image.double(), window.padding), window.height, window.width)
    filters = torch.cat([window.embed(bank.conv.weight, bank.padding) for bank in banks]).double()
    if _takes_batch_statistics(norms[0]):
        moments = Moments.of(patches, _shared_by(norms[0]))
        var = ((filters @ moments.covariance) * filters).sum(1).clamp_min(0)
        _track(norms, filters @ moments.mean, var, moments.number)
        effective = _scales(norms, var) @ filters / len(filters)
        condensed = effective @ moments.centred
        if moments.shift is not None:
            condensed = condensed - effective @ moments.shift
    else:
        mean, var = (torch.cat([getattr(norm, name) for norm in norms]).double() for name in RUNNING)
        scales = _scales(norms, var) / len(filters)
        condensed = scales @ filters @ patches - scales @ mean
    if norms[0].affine:
        condensed = condensed + torch.cat([norm.bias for norm in norms]).double().mean()
    return condensed.view(len(image), 1, *window.places(image.shape[2:])).to(image.dtype)


class Window(NamedTuple):
    """The smallest window that holds the kernels of some banks, each in its place around the same pixel.

    Attributes:
        padding: Zeros around the image, on the left, right, top and bottom.
        height: Rows of the window.
        width: Columns of the window.
    """

    padding: tuple[int, ...]
    height: int
    width: int

    @classmethod
    def around(cls, banks: 'Sequence[GroupingFilter]') -> 'Window':
        """The window of banks whose maps have one size."""
        padding = tuple(max(sides) for sides in zip(*(bank.padding for bank in banks), strict=True))
        (height, width), own = banks[0].conv.kernel_size, banks[0].padding
        return cls(padding, height + sum(padding[2:]) - sum(own[2:]), width + sum(padding[:2]) - sum(own[:2]))

    def places(self, size: Sequence[int]) -> tuple[int, int]:
        """Height and width of the map of an image, from its own."""
        left, right, top, bottom = self.padding
        return size[0] + top + bottom - self.height + 1, size[1] + left + right - self.width + 1

    def embed(self, filters: Tensor, padding: tuple[int, ...]) -> Tensor:
        """Filters (m, 1, h, w) of a bank that pads so, with zeros around them: (m, height * width)."""
        around = [mine - its for mine, its in zip(self.padding, padding, strict=True)]
        return F.pad(filters, around).flatten(1)


def _is_batch_norm(norm: nn.Module) -> bool:
    """Whether a norm computes what torch's own batch norms of a map do."""
    own = nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward
    return isinstance(norm, (nn.BatchNorm2d, nn.SyncBatchNorm)) and type(norm).forward in own


def _takes_batch_statistics(norm: nn.Module) -> bool:
    """Whether a batch norm uses the batch's mean and variance instead of the running ones."""
    return norm.training or norm.running_mean is None


def _shared_by(norm: nn.Module) -> Any:
    """The process group over which a norm in training takes its statistics; None for this process alone."""
    if not isinstance(norm, nn.SyncBatchNorm) or not norm.training:
        return None
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    group = norm.process_group or distributed.group.WORLD
    return group if distributed.get_world_size(group) > 1 else None


def _kind(norm: nn.Module) -> tuple[Any, ...]:
    """What norms must have in common to be computed as one."""
    return norm.num_features, norm.eps, norm.affine, _takes_batch_statistics(norm), _shared_by(norm)


def _scales(norms: Sequence[Any], var: Tensor) -> Tensor:
    """What the norms multiply each map by, given the maps' variances."""
    scales = (var + norms[0].eps).rsqrt()
    return scales * torch.cat([norm.weight for norm in norms]).double() if norms[0].affine else scales


@torch.no_grad()
def _track(norms: Sequence[Any], means: Tensor, variances: Tensor, number: int | Tensor) -> None:
    """Update running statistics as the norms themselves would: with the unbiased variance."""
    unbiased = variances * (number / (number - 1))
    for norm, *new in zip(norms, means.chunk(len(norms)), unbiased.chunk(len(norms)), strict=True):
        if not norm.training or not norm.track_running_stats or norm.running_mean is None:
            continue
        share = norm.momentum or 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
            if norm.momentum is None:
                share = 1.0 / float(norm.num_batches_tracked)
        for name, value in zip(RUNNING, new, strict=True):
            running = getattr(norm, name)
            running.lerp_(value.to(running.dtype), share)
