"""A resumed training is the uninterrupted one: the same samples, random numbers and weights."""

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader, IterableDataset

from inimg_mm.errors import UsageError
from inimg_mm.registry import HOOKS

from .fused_blocks import Forms, forms_of, other_forms
from .order import PositionedBatches, SeededDataset, seed_all
from .pending_gradients import restore_gradients, save_gradients
from .pending_validation import PendingValidation, early_stopping_state, remembered_metrics


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make a training that is interrupted and resumed end with the weights of one that was not.

    mmengine stores no random state, and one would not be enough: worker processes are ahead of the
    training, each with a state of its own. Here all randomness is a function of the position:

    * a sample is seeded by the iteration that it is drawn for and its place in the batch, in the
      process that makes it, whichever worker that is;
    * the model (dropout, drop path, sampling of regions, mixup) and the hooks are seeded by the iteration;
    * the order of the data by the seed and the epoch, as in mmengine; where the config sets no seed, the
      sampler gets that of the checkpoint too, and what mmengine's samplers draw from the global
      generators is seeded by the iteration.

    A run goes on at its checkpoint's iteration, also in the middle of an epoch (a checkpoint hook with
    ``by_epoch=False`` in an epoch-based run, where mmengine starts the epoch anew and counts too far) and
    without loading what is skipped. The gradients of an accumulation that was under way, the counts of
    mmengine's ``EarlyStoppingHook``, and a validation that was due at the checkpoint but not in it are
    made up for too (see :class:`PendingValidation`).

    In a config: ``custom_hooks = [dict(type='inimg_mm.ExactResumeHook')]``; ``tools/train.py`` adds it.
    The weights are equal bit by bit where the operations are deterministic
    (``randomness=dict(seed=…, deterministic=True)``) on the same machine, with the same number of
    processes and the same batches. Not covered: random transforms in a validation, and transforms that keep
    samples of before (mmdet's ``CachedMosaic``) or a generator that is not a global one (albumentations).
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._batches: PositionedBatches | None = None
        self._resumed: dict[str, Any] | None = None
        self._metrics: dict[str, Any] | None = None
        self._forms: Forms | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Remember what the checkpoint says of its run."""
        if not runner._resume or 'message_hub' not in checkpoint:
            return
        info = checkpoint['message_hub'].get('runtime_info', {})
        self._resumed = dict(
            checkpoint['meta'].get('exact_resume', {}),
            epoch_length=info['max_iters'] / info['max_epochs'] if info.get('max_epochs') else None,
            gradients=checkpoint.pop('gradients', None),
        )

    def before_train(self, runner: Any) -> None:
        """Take the loader over, and go to the checkpoint's position.

        Raises:
            UsageError: If the data is a stream, in which there are no positions.
        """
        loop = runner.train_loop
        self._batches = self._take_over(runner, loop.dataloader)
        if self._resumed is not None:
            restore_gradients(runner, self._resumed.pop('gradients', None))
            runner.register_hook(PendingValidation(self._resumed), priority='LOWEST')
        if hasattr(getattr(loop, 'dataloader_iterator', None), 'skip_iter'):
            self._take_over_passes(loop)
        elif isinstance(loop, EpochBasedTrainLoop):
            if self._resumed is not None:
                self._go_into_epoch(runner, loop)
        elif self._resumed is not None:
            runner.logger.warning(
                f'ExactResumeHook does not know where a {type(loop).__name__} goes on: its data may differ '
                'from that of an uninterrupted run'
            )

    def before_train_epoch(self, runner: Any) -> None:
        """Number the batches of the epoch."""
        assert self._batches is not None
        self._batches.iteration = runner.iter
        seed_all(self._batches.seed, 'epoch', get_rank(), runner.epoch)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed what the model and the hooks draw; before the first, look at the forms of the blocks."""
        assert self._batches is not None
        if self._forms is None:
            self._forms = forms_of(runner)
            if warning := other_forms(self._forms, (self._resumed or {}).get('block_forms') or {}):
                runner.logger.warning(warning)
        seed_all(self._batches.seed, 'iteration', get_rank(), runner.iter)

    def before_val_epoch(self, runner: Any) -> None:
        """Seed what a validation draws in this process: it is the same when it is done again."""
        if self._batches is not None:
            seed_all(self._batches.seed, 'validation', get_rank(), runner.iter)

    def after_train_epoch(self, runner: Any) -> None:
        """Number the batches of later epochs from the first."""
        vars(runner.train_loop).pop('run_iter', None)

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        """Remember the metrics, for a checkpoint that is written while they are looked at."""
        self._metrics = remembered_metrics(runner, metrics)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add what mmengine leaves out: counts of early stopping, metrics, forms of the blocks, gradients."""
        validated = self._metrics and self._metrics['iter'] == checkpoint['meta']['iter']
        checkpoint['meta']['exact_resume'] = dict(
            validation=self._metrics if validated else None,
            early_stopping=early_stopping_state(runner),
            block_forms=self._forms,
        )
        save_gradients(runner, checkpoint)

    def _take_over(self, runner: Any, loader: DataLoader) -> PositionedBatches:
        if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
            raise UsageError(
                'inimg_mm.ExactResumeHook needs batches that a sampler draws, and '
                f'{type(loader.dataset).__name__} gives a stream: leave the hook out'
            )
        if isinstance(loader.batch_sampler, PositionedBatches):
            return loader.batch_sampler
        different = (runner._randomness_cfg or {}).get('diff_rank_seed', False)
        seed = runner.seed - (get_rank() if different else 0)
        _seed_sampler(runner, loader, seed)
        batches = PositionedBatches(loader.batch_sampler, seed)
        # torch guards these against changes, since workers would not notice; none has started yet
        object.__setattr__(loader, 'batch_sampler', batches)
        object.__setattr__(loader, 'dataset', SeededDataset(loader.dataset, seed, get_rank()))
        loader._iterator = None
        return batches

    def _take_over_passes(self, loop: IterBasedTrainLoop) -> None:
        """Skip what was trained by drawing it only; mmengine would load it where it has no better way."""
        iterator = type(loop.dataloader_iterator)(loop.dataloader)
        batches = self._batches
        assert batches is not None
        loop.fast_forward_on_resume = False  # if True, mmengine goes on with the data of the start

        def next_pass() -> None:
            iterator._epoch += 1
            for sampler in (loop.dataloader.sampler, batches.sampler):
                if hasattr(sampler, 'set_epoch'):
                    sampler.set_epoch(iterator._epoch)
                    break

        iterator.skip_iter = lambda count: batches.skip(count, next_pass)
        loop.dataloader_iterator = iterator

    def _go_into_epoch(self, runner: Any, loop: EpochBasedTrainLoop) -> None:
        """Skip the iterations of the current epoch that the checkpoint has behind it."""
        assert self._batches is not None
        assert self._resumed is not None
        length = len(loop.dataloader)
        done = loop.iter - loop.epoch * length
        if self._resumed.get('epoch_length') not in (None, length) or not 0 <= done <= length:
            runner.logger.warning(
                f'The checkpoint was written at iteration {loop.iter} in epoch {loop.epoch + 1}, and an '
                f'epoch has {length} iterations now: the data, its batches or the number of processes '
                'changed. The epoch begins anew, and this is not the run that was interrupted any more'
            )
        elif done:
            run_iter = loop.run_iter
            self._batches.skip(done)
            loop.run_iter = lambda index, batch: run_iter(done + index, batch)  # until the epoch ends
            runner.logger.info(f'Going on after iteration {done} of {length} of epoch {loop.epoch + 1}')


def _seed_sampler(runner: Any, loader: DataLoader, seed: int) -> None:
    """Give the sampler the seed, unless the config gives it one of its own.

    mmengine does that when it builds the sampler, before it reads the seed in a checkpoint, and not with
    ``diff_rank_seed``, where it draws one.
    """
    configured = runner._train_dataloader if isinstance(runner._train_dataloader, dict) else {}
    if (configured.get('sampler') or {}).get('seed') is not None:
        return
    samplers: list[Any] = [
        loader.sampler,
        getattr(loader.batch_sampler, 'sampler', None),
        loader.batch_sampler,
    ]
    for sampler in samplers:
        if getattr(sampler, 'seed', None) is not None:
            sampler.seed = seed
