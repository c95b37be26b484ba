"""What the functions of a tail hand on to each other, and what drop path does there."""

from typing import TYPE_CHECKING, Any

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from .norms import NormCall

if TYPE_CHECKING:
    from .passes import Affine


class State:
    """What the two functions of a tail share: the norms' calls, and their constants once they are known.

    With ``averages``, ``rows`` are the chunks' means of the shortcut, where they are known, and then of the
    output.
    """

    def __init__(
        self,
        call: NormCall,
        call2: NormCall | None,
        per_sample: bool,
        recompute: bool = False,
        averages: bool = False,
    ) -> None:
        self.call = call
        self.call2: Any = call2
        self.per_sample = per_sample
        self.makes_again = recompute and call2 is not None
        self.constants: list[Tensor | None] = []
        self.g: Tensor | None = None
        self.rows: Any = None
        self.averages = averages


def constants_of(norm: 'Affine', norm2: 'Affine | None') -> list[Tensor | None]:
    """Nine tensors: five of a norm, and a second one's without its ``share``, which is the first one's."""
    return [*norm[:5], *((None,) * 4 if norm2 is None else norm2[:4])]


def affines_of(constants: list[Tensor | None], state: State) -> tuple['Affine', 'Affine | None']:
    """The norms of :func:`constants_of`, as the kernels read them."""
    from . import passes

    call, call2 = state.call, state.call2
    norm = passes.Affine.of(constants[:5], call)
    if call2 is None:
        return norm, None
    return norm, passes.Affine.of([*constants[5:], constants[4]], call2)


def dropped(drop_path: nn.Module) -> bool:
    """Whether samples are dropped now."""
    return isinstance(drop_path, DropPath) and drop_path.training and drop_path.drop_prob > 0


def drop_mask(drop_path: nn.Module, y: Tensor) -> Tensor | None:
    """What drop path multiplies each sample and channel with, (N, C); it draws what it always draws."""
    if not dropped(drop_path):
        return None
    kept = drop_path(y.new_ones(len(y), 1, 1, 1)).flatten(1)
    return kept.float().expand(y.shape[:2])
