"""Whether the disk has room for the checkpoints of a run."""

import shutil
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import EMAHook
from torch import Tensor, nn
from torch.optim import Optimizer

from inimg_mm.engine.hooks.optim_wrappers import optim_wrappers
from inimg_mm.errors import UsageError

LEAST = 2
"""Checkpoints that must find room in a new run: one is kept until the next is whole."""


def check_room(hook: Any, runner: Any) -> None:
    """Compare the free space with what the checkpoints of a run will take.

    Args:
        hook: The checkpoint hook.
        runner: The runner, before its first iteration.

    Raises:
        UsageError: If there is no room for two checkpoints. Less than all of them is a warning.
    """
    files = planned(hook, runner)
    if not files:
        return
    size = checkpoint_bytes(runner, hook.save_optimizer)
    best = len(hook.save_best) + 1 if hook.save_best else 0
    least = 1 if runner.iter else LEAST
    needed = max(files, least) * size + best * checkpoint_bytes(runner, False)
    free = shutil.disk_usage(hook.out_dir).free
    if free < least * size:
        raise UsageError(
            f'{hook.out_dir} has {_readable(free)} free, and a checkpoint of this run takes about '
            f'{_readable(size)}, of which {least} must find room: one is kept until the next is whole'
        )
    if free < needed:
        runner.logger.warning(
            f'{hook.out_dir} has {_readable(free)} free, and the {files} checkpoints to come take about '
            f'{_readable(needed)}: free some, or set max_keep_ckpts'
        )


def planned(hook: Any, runner: Any) -> int:
    """How many files a run has yet to add, those counted that ``max_keep_ckpts`` keeps at a time."""
    done, end = (runner.epoch, runner.max_epochs) if hook.by_epoch else (runner.iter, runner.max_iters)
    regular = (
        range(hook.save_begin or hook.interval, end + 1, hook.interval) if hook.interval > 0 else range(0)
    )
    files = sum(step > done for step in regular)
    if hook.save_last and end > done and end not in regular:
        files += 1
    if hook.max_keep_ckpts > 0:
        files = min(files, max(hook.max_keep_ckpts - len(hook.keep_ckpt_ids), 0) + 1)
    return files


def checkpoint_bytes(runner: Any, with_optimizer: bool) -> int:
    """Size of a checkpoint: the model, its averages, and what the optimiser will remember of it."""
    model = runner.model
    shards = get_world_size() if 'FullySharded' in type(model).__name__ else 1
    values = _bytes([*model.parameters(), *model.buffers()])
    copies = 1 + sum(isinstance(hook, EMAHook) for hook in runner.hooks)
    states = 0
    if with_optimizer:
        states = sum(_optimizer_bytes(wrapper.optimizer) for wrapper in optim_wrappers(runner))
    return (values * copies + states) * shards


def _optimizer_bytes(optimizer: Optimizer) -> int:
    return sum(
        _states(group) * _bytes([parameter for parameter in group['params'] if parameter.requires_grad])
        for group in optimizer.param_groups
    )


def _states(group: dict[str, Any]) -> int:
    """Tensors of a parameter's size that an optimiser keeps, as its settings tell."""
    if 'betas' in group:  # Adam and its kin
        return len(group['betas']) + bool(group.get('amsgrad'))
    if 'alpha' in group:  # RMSprop
        return 1 + bool(group.get('momentum')) + bool(group.get('centered'))
    if 'momentum' in group:  # SGD
        return int(bool(group['momentum']))
    return 2


def _bytes(tensors: list[nn.Parameter] | list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _readable(size: float) -> str:
    for unit in ('B', 'kB', 'MB', 'GB'):
        if size < 1000:
            return f'{size:.3g} {unit}'
        size /= 1000
    return f'{size:.3g} TB'
