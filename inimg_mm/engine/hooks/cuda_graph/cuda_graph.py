"""The hook that trains with a CUDA graph."""

from typing import Any

from mmengine.hooks import Hook
from torch import nn

from inimg_mm.registry import HOOKS

from .graphed_backbone import GraphedBackbone
from .obstacles import backbone_to_record
from .recording import CUDARecorder


@HOOKS.register_module()
class CUDAGraphHook(Hook):
    """Record the backbone's forward and backward pass as CUDA graphs, and replay them in every step.

    A net of many small operations is bound by the CPU that launches them. A graph is launched as one. It is
    made for images of one size (classification, poses): it is recorded when a shape comes twice in a row, and
    every other shape, and evaluation, runs eagerly. Weights, statistics and gradients are those of the eager
    step, bit by bit where its operations are deterministic, so a run may be resumed with or without the hook.

    * Recording leaves running statistics, counters and random numbers as they were, and casts weights anew in
      every step (no cache of autocast).
    * The model may be in DistributedDataParallel: gradients are recorded for aliases of the parameters, so
      that the order in which DDP wraps and the graph is recorded does not matter.
    * Gradients are copied out of the graph's memory, so they accumulate (``accumulative_counts``).
    * Modes, frozen stages or memory that change in the course of a run have the graph recorded anew.
    * The graph keeps the memory of one step. Feature maps are overwritten by the next step.

    In a config: ``custom_hooks = [dict(type='inimg_mm.CUDAGraphHook')]``. Refused are hooked parts, dropout,
    drop path and ShakeDrop, ``with_cp``, SyncBN over several processes, ``compile``, sharded models, and
    machines without a GPU. Where the recording fails, or its first replay differs from the eager passes, a
    warning says so and training goes on eagerly.

    **No card has run this yet**: a stand-in for the recording proved on a CPU what is recorded and when, and
    what becomes of the gradients.
    """

    priority = 'LOWEST'
    recorder = CUDARecorder
    """What records."""

    def before_train(self, runner: Any) -> None:
        """Look for what cannot be recorded.

        Raises:
            UsageError: If there is any.
        """
        self._net: nn.Module = backbone_to_record(runner)
        device = next(self._net.parameters()).device
        self.graphed = GraphedBackbone(self._net, self.recorder(device))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Put the graph in the place of the backbone's ``forward``, for this iteration: copies have none."""
        self.graphed.begin_iteration()
        vars(self._net)['forward'] = self.graphed

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Take it out."""
        del vars(self._net)['forward']
