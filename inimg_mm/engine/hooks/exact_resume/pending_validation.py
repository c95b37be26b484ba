"""Validations that were due at a checkpoint, and what depends on them.

mmengine writes a checkpoint before the validation that follows it. Resumed from it, the validation is
never done: its metrics, a best checkpoint, a step of ``ReduceOnPlateau`` are lost. Its
``EarlyStoppingHook`` begins to count anew.
"""

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.optim import _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop


class PendingValidation(Hook):
    """Validate before training goes on, if the checkpoint lacks a validation that matters.

    It matters where a best checkpoint, early stopping or a scheduler looks at the metrics, and at the
    end of the training.

    Args:
        resumed: What the checkpoint says of its run: ``validation``, the metrics of one that is in it,
            and ``early_stopping``.
    """

    def __init__(self, resumed: dict[str, Any]) -> None:
        self.resumed = resumed

    def before_train(self, runner: Any) -> None:
        """Restore counts of early stopping, and validate."""
        hooks = list(_early_stopping(runner))
        for hook, (wait_count, best_score) in zip(
            hooks, self.resumed.get('early_stopping') or [], strict=False
        ):
            hook.wait_count, hook.best_score = wait_count, best_score
        validation = self.resumed.get('validation')
        if validation is not None:  # written during the validation: what comes after CheckpointHook is to do
            for hook in hooks:
                hook.after_val_epoch(runner, validation['metrics'])
        elif _is_due(runner) and (_at_end(runner) or _matters(runner)):
            runner.logger.info('The checkpoint was written before its validation, which is done now')
            runner.val_loop.run()


def early_stopping_state(runner: Any) -> list[tuple[int, float]]:
    """What mmengine's early stopping counts, hook by hook."""
    return [(hook.wait_count, float(hook.best_score)) for hook in _early_stopping(runner)]


def remembered_metrics(runner: Any, metrics: dict[str, Any] | None) -> dict[str, Any]:
    """The metrics of a validation that are numbers, and its iteration."""
    numbers = {}
    for name, value in (metrics or {}).items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            continue
    return dict(iter=runner.iter, metrics=numbers)


def _early_stopping(runner: Any) -> Iterator[EarlyStoppingHook]:
    return (hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook))


def _is_due(runner: Any) -> bool:
    """Whether a run that comes to this position validates before it goes on."""
    loop = runner.train_loop
    if runner.val_loop is None:
        return False
    if isinstance(loop, EpochBasedTrainLoop):
        position, end = loop.epoch, loop.max_epochs
        if loop.iter != position * len(loop.dataloader):
            return False
    elif isinstance(loop, IterBasedTrainLoop):
        position, end = loop.iter, loop.max_iters
    else:
        return False
    loop._decide_current_val_interval()
    return (
        position > 0 and position >= loop.val_begin and (position % loop.val_interval == 0 or position == end)
    )


def _at_end(runner: Any) -> bool:
    loop = runner.train_loop
    return (
        loop.epoch >= loop.max_epochs
        if isinstance(loop, EpochBasedTrainLoop)
        else loop.iter >= loop.max_iters
    )


def _matters(runner: Any) -> bool:
    """Whether anything that is resumed looks at metrics."""
    schedulers = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        schedulers = [scheduler for several in schedulers.values() for scheduler in several]
    return (
        any(isinstance(hook, CheckpointHook) and hook.save_best for hook in runner.hooks)
        or any(_early_stopping(runner))
        or any(isinstance(s, _ParamScheduler) and getattr(s, 'need_val_args', False) for s in schedulers)
    )
