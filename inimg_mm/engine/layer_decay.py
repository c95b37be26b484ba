"""Layer-wise learning-rate decay for any host's model on a backbone that knows its layers."""

from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from inimg_mm.errors import UsageError
from inimg_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS

RATE = 'decay_rate'
OPTIONS = (
    RATE,
    'custom_keys',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'flat_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
)
"""What ``paramwise_cfg`` may hold: the rate, and all that mmengine's own constructor takes."""

WRAPPERS = ('_fsdp_wrapped_module.', '_checkpoint_wrapped_module.', '_orig_mod.')
"""Parts that sharding, recomputing and compiling put into the names of parameters."""


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Let the layers of the backbone learn the more slowly, the nearer they are to the image.

    Layer ``i`` of ``n`` (:meth:`.Backbone.get_layer_depth`: 0 is the stem, then one per block, the last is
    everything outside the backbone) learns at ``decay_rate ** (n - 1 - i)`` times its rate. That multiplies
    what mmengine's constructor gives the parameter, so ``lr_mult`` of ``custom_keys`` and every other
    option of ``paramwise_cfg`` hold as well.

    ``optim_wrapper = dict(optimizer=…, constructor='inimg_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.8, norm_decay_mult=0.0))``

    It works with any model whose ``backbone`` has mmpretrain's ``get_layer_depth``; the hosts' own
    constructors know a few architectures by name (mmdet, mmpose, mmseg), or drop ``lr_mult`` (mmpretrain).

    Args:
        optim_wrapper_cfg: Config of the optimiser wrapper.
        paramwise_cfg: ``decay_rate``, above 0 and at most 1, and mmengine's options.

    Raises:
        UsageError: If an option is unknown, or ``decay_rate`` is missing or out of its range; on a model,
            if it has no backbone that knows its layers.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        paramwise_cfg = dict(paramwise_cfg or {})
        for name in paramwise_cfg:
            if name not in OPTIONS:
                raise UsageError(f'paramwise_cfg has no {name!r} here; choose from {list(OPTIONS)}')
        rate = paramwise_cfg.get(RATE)
        if not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise UsageError(f'paramwise_cfg.{RATE} must be above 0 and at most 1, got {rate!r}')
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        if self.base_lr is None:
            raise UsageError('layer-wise decay needs a learning rate to start from: set optimizer.lr')

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, prefix: str = '', **options: Any
    ) -> None:
        """Collect the parameter groups of a module; those of the whole model get their layers' rates."""
        super().add_params(params, module, prefix, **options)
        if prefix:
            return
        backbone: Any = getattr(module, 'backbone', None)
        if not hasattr(backbone, 'get_layer_depth'):
            raise UsageError(
                f'layer-wise decay needs a backbone with get_layer_depth, as those of inimg_mm have; '
                f'{type(module).__name__} has {"none" if backbone is None else type(backbone).__name__}'
            )
        names = {id(parameter): _plain(name) for name, parameter in module.named_parameters()}
        for group in params:
            layer, layers = backbone.get_layer_depth(names[id(group['params'][0])], 'backbone.')
            group['lr'] = group.get('lr', self.base_lr) * self.paramwise_cfg[RATE] ** (layers - 1 - layer)
        _, layers = backbone.get_layer_depth('', 'backbone.')
        lowest = self.base_lr * self.paramwise_cfg[RATE] ** (layers - 1)
        print_log(
            f'layer-wise decay: {layers} layers, learning rates from {lowest:.3g} to {self.base_lr:.3g}, '
            'times the lr_mult of the options above',
            logger='current',
        )


def _plain(name: str) -> str:
    for part in WRAPPERS:
        name = name.replace(part, '')
    return name
