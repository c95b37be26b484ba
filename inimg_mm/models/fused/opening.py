"""Taking the last norm off a sequence, so that what follows can be fused with it."""

from mmengine.model import Sequential
from torch import Tensor, nn

from inimg_mm.models.eager import is_untouched


def opened(sequence: nn.Module | None, x: Tensor) -> tuple[Tensor, nn.Module | None]:
    """``sequence(x)`` without its last layer, where that is a batch norm and nobody looks at the whole.

    Args:
        sequence: None for an identity.
        x: (N, C, H, W).

    Returns:
        A map, and the norm that it still has to go through, None where there is none.
    """
    if sequence is None:
        return x, None
    if type(sequence) not in (Sequential, nn.Sequential) or not is_untouched(sequence):
        return sequence(x), None
    *layers, last = sequence.children()
    if type(last) not in (nn.BatchNorm2d, nn.SyncBatchNorm):
        return sequence(x), None
    for layer in layers:
        x = layer(x)
    return x, last
