"""Gradients that were accumulated when a checkpoint was written, and not applied yet."""

from typing import Any

from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from torch import nn

from inimg_mm.engine.hooks.optim_wrappers import optim_wrappers


def save_gradients(runner: Any, checkpoint: dict[str, Any]) -> None:
    """Add the gradients of an accumulation under way to a checkpoint that stores the optimiser."""
    if 'optimizer' in checkpoint and _under_way(runner) and get_world_size() == 1:
        checkpoint['gradients'] = {
            name: parameter.grad.detach().cpu().clone()
            for name, parameter in _model(runner).named_parameters()
            if parameter.grad is not None
        }


def restore_gradients(runner: Any, gradients: dict[str, Any] | None) -> None:
    """Give the parameters the gradients of a checkpoint, or warn that they are lost."""
    if not _under_way(runner):
        return
    if gradients is None or get_world_size() > 1:
        runner.logger.warning(
            'The checkpoint was written between two steps of the optimiser (accumulative_counts), and the '
            'gradients of the iterations before it are lost'
            + (', as they are on several processes' if get_world_size() > 1 else '')
        )
        return
    for name, parameter in _model(runner).named_parameters():
        if name in gradients:
            parameter.grad = gradients[name].to(parameter)


def _under_way(runner: Any) -> bool:
    """Whether an optimiser has seen iterations since its last step."""
    return any(
        wrapper._inner_count % wrapper._accumulative_counts and wrapper._inner_count != wrapper._max_counts
        for wrapper in optim_wrappers(runner)
    )


def _model(runner: Any) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
