"""What cannot be recorded as a graph, said before the first iteration."""

from collections.abc import Callable
from typing import Any

from mmcv.cnn.bricks import DropPath
from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from inimg_mm.errors import UsageError
from inimg_mm.models.backbones.shake_drop import ShakeDrop
from inimg_mm.models.eager import is_untouched

LEAVE_OUT = 'leave the hook out of custom_hooks'


def backbone_to_record(runner: Any) -> nn.Module:
    """The backbone of a runner's model, in training mode.

    Raises:
        UsageError: If it cannot be recorded as a graph.
    """
    model = runner.model
    if isinstance(model, DistributedDataParallel):
        model = model.module
    net = getattr(model, 'backbone', None)
    for wrapped in (model, net):
        if is_model_wrapper(wrapped):
            raise _refused(f'takes no model in {type(wrapped).__name__}', LEAVE_OUT)
    if not isinstance(net, nn.Module):
        raise _refused(f'records model.backbone, and {type(model).__name__} has none', LEAVE_OUT)
    if runner.cfg.get('compile'):
        raise _refused('and compile are two ways of the same', f'{LEAVE_OUT}, or compile out of the config')
    if not is_untouched():
        raise _refused('finds a hook that is registered for every module', f'{LEAVE_OUT}, or remove that')
    model.train()  # as the loop does now: frozen stages and norms are in their modes
    for found, does, remedy in _OBSTACLES:
        names = [name for name, module in net.named_modules(prefix='backbone') if found(module)]
        if names:
            more = f' and {len(names) - 1} more' if names[1:] else ''
            raise _refused(f'cannot record what {does} ({names[0]}{more})', f'{remedy}, or {LEAVE_OUT}')
    return net


def _refused(what: str, remedy: str) -> UsageError:
    return UsageError(f'inimg_mm.CUDAGraphHook {what}: {remedy}')


def _recomputes(module: Any) -> bool:
    return bool(getattr(module, 'with_cp', False))


def _is_looked_at(module: nn.Module) -> bool:
    return not is_untouched(module)


def _draws(module: Any) -> bool:
    """Whether a module draws random numbers in a training step."""
    rates = {_DropoutNd: 'p', DropPath: 'drop_prob', ShakeDrop: 'rate'}
    own = (getattr(module, rate) for kind, rate in rates.items() if isinstance(module, kind))
    return module.training and any(own)


def _waits_for_others(module: nn.Module) -> bool:
    return module.training and 'SyncB' in type(module).__name__ and get_world_size() > 1


_OBSTACLES: list[tuple[Callable[[nn.Module], bool], str, str]] = [
    (_recomputes, 'is recomputed in the backward pass', 'set with_cp=False'),
    (_is_looked_at, 'has a hook, a parametrization or a forward of its own', 'remove that'),
    (_draws, 'draws random numbers in every step', 'set its rate to 0'),
    (_waits_for_others, 'waits for the statistics of other processes', "set norm_cfg=dict(type='BN')"),
]
"""What speaks against a module, in words, and what to do about it."""
