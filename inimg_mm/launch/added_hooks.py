"""The hooks that keep a run and its data safe, written into a config that lacks them."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from inimg_mm.engine.hooks import CorruptDataHook, ExactResumeHook, SafeCheckpointHook
from inimg_mm.errors import UsageError

PLAIN = ('CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook)
"""How a config names mmengine's checkpoint hook."""


def save_safely(cfg: Config) -> None:
    """Put :class:`SafeCheckpointHook` in the place of mmengine's; another hook, or none, is left."""
    cfg.default_hooks = cfg.get('default_hooks') or {}
    defaults = cfg.default_hooks
    if 'checkpoint' not in defaults:
        defaults['checkpoint'] = dict(type='CheckpointHook', interval=1)  # what mmengine has without a word
    for hook in [*defaults.values(), *(cfg.get('custom_hooks') or [])]:
        if isinstance(hook, dict) and hook.get('type') in PLAIN:
            hook['type'] = f'inimg_mm.{SafeCheckpointHook.__name__}'


def resume_exactly(cfg: Config) -> None:
    """Add :class:`ExactResumeHook`."""
    _add(cfg, ExactResumeHook)


def name_corrupt_data(cfg: Config, skip: int = 0) -> int:
    """Add :class:`CorruptDataHook`, without its look into annotation files, which comes before a run here.

    Args:
        cfg: Changed in place.
        skip: How many corrupt files a training leaves out; 0 keeps what the config says.

    Returns:
        How many it leaves out.

    Raises:
        UsageError: If ``skip`` is negative.
    """
    if skip < 0:
        raise UsageError(f'--skip-corrupt takes a number of files, 0 or more, and not {skip}')
    hook = _add(cfg, CorruptDataHook)
    hook['annotations'] = False
    if skip:
        hook['skip_corrupt'] = skip
    return hook.get('skip_corrupt', 0)


def _add(cfg: Config, kind: type) -> Any:
    """The config's entry of a hook, added to its list if it has none."""
    for hook in _of_kind(cfg, kind):
        return hook
    hooks = list(cfg.get('custom_hooks') or [])
    cfg.custom_hooks = [*hooks, dict(type=f'inimg_mm.{kind.__name__}')]
    return cfg.custom_hooks[-1]


def _of_kind(cfg: Config, kind: type) -> Iterator[Any]:
    for hook in [*(cfg.get('custom_hooks') or []), *(cfg.get('default_hooks') or {}).values()]:
        named = hook.get('type') if isinstance(hook, dict) else None
        if named is kind or (isinstance(named, str) and named.split('.')[-1] == kind.__name__):
            yield hook
