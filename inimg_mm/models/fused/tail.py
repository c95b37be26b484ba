"""The end of a block: ``relu(shortcut + g norm(y))``, g of a gate, of drop path, or of both.

A gate reads the means of ``norm(y)``, which follow from those of y, and with two streams of the shortcut.
The shortcut may come before its own norm (a projection's), which is then folded in. The passes are in
:mod:`.tail_functions`.

Launches in training: 3 forward and 3 backward without a gate, 4 and 4 with one besides its own arithmetic
(see :mod:`.excitation` and :mod:`.imaging`); 1 forward more for a projection's norm, for a second stream
whose mean no other tail has left (see :mod:`.carry`), or for both. With running statistics 1 and 2 without a
gate (1 and 1 where gamma and beta are frozen), 3 and 4 with one, and 1 forward more for a second stream.
"""

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from inimg_mm.models.attention import Gate
from inimg_mm.models.eager import is_untouched

from . import norms
from .carry import remember, remembered
from .gates import weigh
from .geometry import dense, like
from .norm_act import norm_act
from .norms import DTYPES, NormCall, is_fusable
from .switch import Fused, can_fuse
from .tail_functions import Squeeze, Tail
from .tail_state import State, drop_mask, dropped


def obstacle(
    norm: nn.Module, gate: nn.Module | None, drop_path: nn.Module, relu: nn.Module, fused: Fused = 'auto'
) -> str | None:
    """Why a block's end is not fused whatever its maps, in a few words; None where it is."""
    if type(relu) is not nn.ReLU:
        return f'a {type(relu).__name__} follows the sum'
    if type(drop_path) not in (DropPath, nn.Identity):
        return f'samples are dropped by {type(drop_path).__name__}'
    if gate is not None and not (isinstance(gate, Gate) and type(gate).forward is Gate.forward):
        return f'its gate is a {type(gate).__name__} that reads whole maps'
    if not is_untouched(drop_path, relu, *(() if gate is None else (gate,))):
        return 'its gate, drop path or ReLU has a hook, a parametrization or a forward of its own'
    return norms.obstacle(norm, fused)


def tail_fuses(
    y: Tensor,
    shortcut: Tensor,
    norm: nn.Module,
    gate: nn.Module | None,
    drop_path: nn.Module,
    relu: nn.Module,
    fused: Fused = 'auto',
) -> bool:
    """Whether :func:`tail` may stand for the block's plain formula: same numbers, and nobody looks at a part.

    The arguments are those of :func:`tail`, and the module that follows the add.
    """
    return (
        can_fuse(fused, y, shortcut)
        and obstacle(norm, gate, drop_path, relu, fused) is None
        and is_fusable(norm, y, fused)
        and shortcut.dtype in DTYPES
        and shortcut.shape == y.shape
        and shortcut.device == y.device
    )


def tail(
    y: Tensor,
    shortcut: Tensor,
    norm: nn.Module,
    gate: Gate | None,
    drop_path: nn.Module,
    norm2: nn.Module | None = None,
    fused: Fused = 'auto',
    recompute: bool = False,
) -> Tensor:
    """``relu(norm2(shortcut) + gate * drop_path(norm(y)))``; :func:`tail_fuses` has allowed it.

    Args:
        y: Input of the branch's last norm, (N, C, H, W).
        shortcut: (N, C, H, W).
        norm: The branch's last norm.
        gate: Weighs the channels of ``norm(y)``, which it does not see: it is given the means.
        drop_path: Drops samples, or an identity.
        norm2: What the shortcut still has to go through. One that is not in the same mode as
            ``norm``, or not of its kind, is applied before.
        fused: See :mod:`.switch`.
        recompute: Whether the output is not kept where it follows from two maps that are, with ``norm2``.

    Returns:
        (N, C, H, W), of the dtype to which torch would promote the sum.
    """
    y = dense(y)
    call, call2 = NormCall.of(norm), None
    if norm2 is not None:
        if is_fusable(norm2, shortcut, fused) and type(norm2) is type(norm):
            call2 = NormCall.of(norm2)
        if call2 is None or call2.running != call.running or call2.group is not call.group:
            shortcut, norm2, call2 = norm_act(shortcut, norm2, None, fused), None, None
    shortcut = like(y, shortcut)
    affine = (norm.weight, norm.bias, *((None, None) if norm2 is None else (norm2.weight, norm2.bias)))
    if gate is None:
        state = State(call, call2, dropped(drop_path), recompute)
        return Tail.apply(y, shortcut, *affine, drop_mask(drop_path, y), None, None, state)
    state = State(call, call2, True, recompute, averages=gate.needs_shortcut)
    state.rows = remembered(shortcut) if state.averages and call2 is None else None
    u, v, q, sums = Squeeze.apply(y, shortcut, *affine, state)
    g = weigh(gate, [mean for mean in (u, v) if mean is not None])
    mask = drop_mask(drop_path, y)
    out = Tail.apply(y, shortcut, *affine, g if mask is None else g * mask, q, sums, state)
    if state.averages:
        remember(out, state.rows)
        state.rows = None
    return out
