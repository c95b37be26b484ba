"""Train in mixed precision (``--amp``)."""

from mmengine.config import Config
from mmengine.device import get_device

from inimg_mm.config_tree import type_name
from inimg_mm.errors import UsageError

AMP_DEVICES = ('cuda', 'npu', 'mlu', 'musa')


def use_amp(cfg: Config) -> None:
    """Train in mixed precision."""
    if get_device() not in AMP_DEVICES:
        raise UsageError(f'--amp needs an accelerator ({", ".join(AMP_DEVICES)}), and this machine has none')
    wrapper = cfg.optim_wrapper
    if type_name(wrapper, 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UsageError(f'--amp takes the place of OptimWrapper, and the config has a {wrapper.type}')
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')
