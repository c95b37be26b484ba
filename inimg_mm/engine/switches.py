"""Command-line switches that a config has lines for: each writes those lines."""

from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device

from .errors import UsageError

AMP_DEVICES = ('cuda', 'npu', 'mlu', 'musa')


def use_amp(cfg: Config) -> None:
    """Switch mixed precision on."""
    if get_device() not in AMP_DEVICES:
        raise UsageError(f'--amp needs an accelerator ({", ".join(AMP_DEVICES)}), and this machine has none')
    wrapper = cfg.optim_wrapper
    if wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UsageError(f'--amp takes the place of OptimWrapper, and the config has a {wrapper.type}')
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


def draw_to(cfg: Config, folder: Path) -> None:
    """Have the host's visualisation hook draw every test image into ``folder``."""
    out = str(folder)
    hooks = {
        'mmdet': dict(type='DetVisualizationHook', draw=True, test_out_dir=out),
        'mmpretrain': dict(type='VisualizationHook', enable=True, interval=1, out_dir=out),
        'mmpose': dict(type='PoseVisualizationHook', enable=True, out_dir=out),
        'mmseg': dict(type='SegVisualizationHook', draw=True),
    }
    visualizers = {'mmseg': dict(save_dir=out, vis_backends=[dict(type='LocalVisBackend')])}
    scope = cfg.default_scope
    if scope not in hooks:
        raise UsageError(f'--show-dir knows how {", ".join(hooks)} draw, and not {scope}')
    folder.mkdir(parents=True, exist_ok=True)
    configured = cfg.get('default_hooks', {}).get('visualization', {})
    cfg.merge_from_dict(
        {
            'default_hooks.visualization': {
                **hooks[scope],
                'type': configured.get('type', hooks[scope]['type']),
            },
            'visualizer': visualizers.get(scope, {}),
        }
    )
