"""The learning rate's schedule, and the batch that it is meant for (``--auto-scale-lr``)."""

from mmengine.config import Config

from inimg_mm.errors import UsageError


def scale_lr(cfg: Config) -> None:
    """Scale the learning rate with the batch of all processes together."""
    settings = cfg.get('auto_scale_lr') or {}
    if not settings.get('base_batch_size'):
        raise UsageError(
            '--auto-scale-lr needs the batch size that the learning rate is meant for: '
            'auto_scale_lr=dict(base_batch_size=…) in the config'
        )
    settings['enable'] = True
    cfg.auto_scale_lr = settings
