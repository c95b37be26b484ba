"""What a fused operation reads of a batch norm, and which norms it can stand for."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from inimg_mm.models.eager import is_untouched

from .geometry import LARGEST_OFFSET
from .switch import Fused

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What maps and weights may be made of."""


class NormCall(NamedTuple):
    """One call of a batch norm, aside from its input, weight and bias.

    Attributes:
        running: Whether it is normed by the running statistics, as in eval mode, instead of the batch's.
        mean: The running mean; None where there is none.
        var: The running variance.
        batches: The counter of batches.
        momentum: Of the running statistics.
        eps: Added to the variance.
        group: The processes over which statistics are taken; None for this one alone.
    """

    running: bool
    mean: Tensor | None
    var: Tensor | None
    batches: Tensor | None
    momentum: float
    eps: float
    group: distributed.ProcessGroup | None

    @classmethod
    def of(cls, norm: Any) -> 'NormCall':
        """What ``norm`` would do now; :func:`is_fusable` has said that it can be read."""
        running = not norm.training and norm.running_mean is not None
        tracked = norm.training and norm.track_running_stats and norm.num_batches_tracked is not None
        return cls(
            running,
            norm.running_mean if running or tracked else None,
            norm.running_var if running or tracked else None,
            norm.num_batches_tracked if tracked else None,
            norm.momentum or 0.0,
            norm.eps,
            _group(norm) if norm.training else None,
        )

    def formula(self, y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The norm of ``y`` as torch writes it, for second derivatives; the running statistics stay.

        Raises:
            RuntimeError: If the statistics are those of several processes: torch has none, either.
        """
        if self.group is not None:
            raise RuntimeError('SyncBN has no second derivatives: train with BN to use create_graph=True')
        statistics = (self.mean, self.var) if self.running else (None, None)
        return F.batch_norm(y, *statistics, weight, bias, not self.running, 0.0, self.eps)


def unreadable(norm: Any) -> str | None:
    """Why a norm's weights and :class:`NormCall` do not say what it does; None where they do."""
    if type(norm) not in (nn.BatchNorm2d, nn.SyncBatchNorm):
        return f'its norm is a {type(norm).__name__}'
    if not is_untouched(norm):
        return 'its norm has a hook, a parametrization or a forward of its own'
    if norm.weight is None or norm.bias is None:
        return 'its norm has no weight and bias'
    if norm.training and norm.track_running_stats and norm.momentum is None:
        return 'its norm averages its statistics over all batches (momentum=None)'
    if (norm.running_mean is None) != (norm.num_batches_tracked is None):
        return 'its norm has running statistics without a counter of batches'
    return None


def takes(norm: Any, y: Tensor) -> bool:
    """Whether ``y`` is a map, (N, C, H, W), that ``norm`` can work on: torch refuses one value a channel."""
    if y.dim() != 4 or y.shape[1] != norm.num_features:
        return False
    least = 2 if norm.training or norm.running_mean is None else 1
    return y.numel() >= least * y.shape[1] > 0


def obstacle(norm: Any, fused: Fused) -> str | None:
    """Why ``norm`` is called as it is, whatever its input; None where the kernels compute what it does.

    All processes of a SyncBN have to take one form, and whether they can is not known here: it takes
    ``fused=True``.
    """
    reason = unreadable(norm)
    if reason is not None:
        return reason
    if fused is not True and norm.training and _group(norm) is not None:
        return 'its norm is a SyncBN of several processes, which takes fused=True'
    buffers = [norm.running_mean, norm.running_var]
    if norm.weight.dtype not in DTYPES or any(b is not None and b.dtype != torch.float32 for b in buffers):
        return f'its norm is kept in {str(norm.weight.dtype).removeprefix("torch.")}'
    return None


def is_fusable(norm: Any, y: Tensor, fused: Fused) -> bool:
    """Whether the kernels compute exactly what ``norm(y)`` does, see :func:`obstacle`.

    Not where it does not take ``y``, nor where dtype, offsets or devices do not fit.
    """
    if obstacle(norm, fused) is not None or not takes(norm, y):
        return False
    if y.dtype not in DTYPES or y.numel() // len(y) > LARGEST_OFFSET:
        return False
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return all(t is None or (t.device == y.device and t.is_contiguous()) for t in tensors)


def _group(norm: Any) -> distributed.ProcessGroup | None:
    """The processes that share a SyncBN's statistics; None where there is only one."""
    if not isinstance(norm, nn.SyncBatchNorm):
        return None
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    group = norm.process_group or distributed.group.WORLD
    return group if distributed.get_world_size(group) > 1 else None


def merged_statistics(
    call: NormCall, mean: Tensor, squares: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Statistics of all processes from each one's mean, sum of squares about it, and count.

    A sum of the sums of squares would leave out what lies between the processes' means.

    Args:
        call: Whose running statistics are updated.
        mean: (C,).
        squares: (C,).
        count: (1,).

    Returns:
        Mean and 1 / deviation, each (C,), and 1 / count, (1,).
    """
    local = torch.cat([mean, squares, count])
    gathered = [torch.empty_like(local) for _ in range(distributed.get_world_size(call.group))]
    distributed.all_gather(gathered, local, group=call.group)
    means, squared, counts = torch.stack(gathered).split([len(mean), len(squares), 1], dim=1)
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    about = (squared + counts * (means - mean).square()).sum(0)
    if call.mean is not None and call.var is not None and call.batches is not None:
        call.mean.lerp_(mean, call.momentum)
        call.var.lerp_(about / (total - 1), call.momentum)
        call.batches.add_(1)
    return mean, torch.rsqrt(about / total + call.eps), 1 / total
