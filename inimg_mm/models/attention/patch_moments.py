"""The patches of inner images, and their mean and covariance."""

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.autograd import Function
from torch.nn import functional as F


def patches_of(image: Tensor, height: int, width: int) -> Tensor:
    """The windows of an image (N, 1, H, W) as columns, (height * width, N * H' * W')."""
    return _Patches.apply(image, height, width)


class Moments(NamedTuple):
    """Mean and covariance of patches of k values.

    Attributes:
        centred: This process' patches minus their mean, (k, P).
        mean: The mean of all patches, those of other processes included, (k,).
        covariance: Of all patches, (k, k), divided by their number.
        number: How many patches there are in all.
        shift: ``mean`` minus the mean of this process' patches; None where these are all.
    """

    centred: Tensor
    mean: Tensor
    covariance: Tensor
    number: int | Tensor
    shift: Tensor | None

    @classmethod
    def of(cls, patches: Tensor, group: Any = None) -> 'Moments':
        """The moments of patches (k, P), and of those of the processes in ``group`` unless it is None."""
        count = patches.shape[1]
        own = patches.sum(1) / max(count, 1)
        centred = patches - own[:, None]
        squares = _Squares.apply(centred)
        if group is None:
            return cls(centred, own, squares / count, count, None)
        mean, covariance, total = _merged(count, own, squares, group)
        return cls(centred, mean, covariance, total, mean - own)


def _merged(count: int, mean: Tensor, squares: Tensor, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, covariance and number of the patches of all processes (Chan, Golub and LeVeque 1979).

    Around the common mean, the squares are each process' own and those of its mean's distance from it.
    """
    processes, rank = distributed.get_world_size(group), distributed.get_rank(group)
    own = torch.cat([mean.new_tensor([count]), mean, squares.flatten()])
    table = _SumOverProcesses.apply(F.pad(own[None], (0, 0, rank, processes - rank - 1)), group)
    counts, means, all_squares = table.split([1, len(mean), squares.numel()], dim=1)
    total = counts.sum()
    common = (counts * means).sum(0) / total
    distances = means - common
    covariance = (all_squares.sum(0).view_as(squares) + (counts * distances).T @ distances) / total
    return common, covariance, total


class _Patches(Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, height: int, width: int) -> Tensor:
        ctx.shape, ctx.window = image.shape, (height, width)
        windows = image.unfold(2, height, 1).unfold(3, width, 1)
        return windows.permute(4, 5, 0, 1, 2, 3).reshape(height * width, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Overlaps.apply(grads[0], ctx.shape, ctx.window), None, None


class _Overlaps(Function):
    """The adjoint of :class:`_Patches`: each pixel's sum over the windows that hold it."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, shape: torch.Size, window: tuple[int, int]) -> Tensor:
        ctx.window = height, width = window
        rows, places = shape[2] - height + 1, shape[3] - width + 1
        windows = columns.view(height, width, shape[0], 1, rows, places)
        image = columns.new_zeros(shape)
        for i, j in itertools.product(range(height), range(width)):
            image[:, :, i : i + rows, j : j + places] += windows[i, j]
        return image

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Patches.apply(grads[0], *ctx.window), None, None


class _Squares(Function):
    """``x @ x.T``, with one product of matrices in its backward pass instead of two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x @ x.T

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (grads[0] + grads[0].T) @ x


class _SumOverProcesses(Function):
    """The sum of a tensor over the processes of a group; its gradient is summed alike."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = tensor.clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _SumOverProcesses.apply(grads[0].contiguous(), ctx.group), None
