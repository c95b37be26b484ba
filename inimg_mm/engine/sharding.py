"""Fully sharded data parallel (FSDP): what is one unit, and mmengine's strategy made to work today."""

from functools import partial
from typing import Any

from mmengine._strategy.fsdp import FSDP, FSDPStrategy
from mmengine.device import get_device
from mmengine.optim import BaseOptimWrapper
from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.backbones.blocks import ResidualBlock
from inimg_mm.models.backbones.inception_blocks import MixedBlock
from inimg_mm.registry import FUNCTIONS, STRATEGIES


def whole(offload: bool) -> dict[str, Any]:
    """``state_dict_cfg`` of checkpoints like any other, which process 0 writes.

    Args:
        offload: Copy to the CPU what is saved, part by part. On a CPU that copies nothing, and torch frees
            the weights and overwrites the optimiser's state that it takes for copies.
    """
    options = dict(rank0_only=True, offload_to_cpu=offload)
    return dict(
        state_dict_type='FULL_STATE_DICT',
        state_dict_config=dict(type='FullStateDictConfig', **options),
        optim_state_dict_config=dict(type='FullOptimStateDictConfig', **options),
    )


@FUNCTIONS.register_module()
def wrap_residual_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """FSDP's ``auto_wrap_policy``: every residual or mixed block is a unit, the rest of the model another.

    A block with its gate is gathered, computed and freed as a whole: never a gate apart from its block.

    Args:
        module: A module of the model.
        recurse: Whether FSDP asks if it should look inside, or if ``module`` is a unit.
        nonwrapped_numel: Values of ``module`` that are in no unit yet; they do not matter here.
    """
    return recurse or isinstance(module, ResidualBlock | MixedBlock)


@STRATEGIES.register_module(name='FSDPStrategy')
class ShardedStrategy(FSDPStrategy):
    """mmengine's ``FSDPStrategy`` that resumes, clips by the whole gradient's norm, and runs on a CPU.

    mmengine's hands torch the optimiser's state in the wrong place (torch before 2.1 wanted it there), and
    lets every process clip its shard of the gradient by the norm of that shard.

    Args:
        model_wrapper: Config of :class:`mmengine.model.MMFullyShardedDataParallel`.
        **options: See :class:`mmengine._strategy.FSDPStrategy`, without ``state_dict_cfg``: a checkpoint is
            one whole file, which any tool reads.

    Raises:
        UsageError: If ``state_dict_cfg`` is given.
    """

    def __init__(self, *, model_wrapper: dict[str, Any] | None = None, **options: Any) -> None:
        if 'state_dict_cfg' in options:
            raise UsageError('inimg_mm.FSDPStrategy writes whole checkpoints and takes no state_dict_cfg')
        on_cpu = get_device() == 'cpu'
        if on_cpu:
            model_wrapper = {
                'type': 'MMFullyShardedDataParallel',
                **(model_wrapper or {}),
                'device_id': 'cpu',
            }
        super().__init__(model_wrapper=model_wrapper, state_dict_cfg=whole(not on_cpu), **options)

    def build_optim_wrapper(self, optim_wrapper: Any, model: nn.Module | None = None) -> BaseOptimWrapper:
        """Build the optimiser, and have FSDP compute the norm that the gradient is clipped by."""
        wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(wrapper, 'clip_func', None) is nn.utils.clip_grad_norm_:
            wrapper.clip_func = partial(_clip_whole, model)
        return wrapper

    def optim_state_dict(self) -> dict[str, Any]:
        """The state of the whole optimiser."""
        return FSDP.optim_state_dict(self.model, self.optim_wrapper.optimizer)

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give this process its shard of the optimiser's state."""
        optimizer = self.optim_wrapper.optimizer
        optimizer.load_state_dict(FSDP.optim_state_dict_to_load(self.model, optimizer, state_dict))


def _clip_whole(model: FSDP, parameters: list[nn.Parameter], **options: Any) -> Tensor:
    """Clip the gradients of a sharded model; ``parameters`` are the shards, which FSDP knows."""
    return model.clip_grad_norm_(**options)
