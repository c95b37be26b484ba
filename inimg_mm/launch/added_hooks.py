"""The hooks that a run adds to its config: they keep it and its data safe, draw, and write predictions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from inimg_mm.engine.hooks import CorruptDataHook, ExactResumeHook, SafeCheckpointHook
from inimg_mm.errors import UsageError
from inimg_mm.hosts import HOSTS
from inimg_mm.output_files import check_folder, check_output

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


def draw_to(cfg: Config, folder: Path) -> None:
    """Have the host's visualisation hook draw every test image into ``folder``, each a picture of its own.

    Raises:
        UsageError: If the host is unknown, or the folder cannot be written into.
    """
    if cfg.default_scope not in HOSTS:
        raise UsageError(f'--show-dir knows how {", ".join(HOSTS)} draw, and not {cfg.default_scope}')
    check_folder(folder)
    lines = HOSTS[cfg.default_scope].drawing(str(folder))
    configured = (cfg.get('default_hooks') or {}).get('visualization') or {}
    hook = lines['default_hooks.visualization']
    cfg.merge_from_dict(
        {**lines, 'default_hooks.visualization': {**hook, 'type': configured.get('type', hook['type'])}}
    )
    names = dict(type='inimg_mm.PictureNamesHook', out=str(folder))
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), names]


def save_predictions_to(cfg: Config, path: Path) -> None:
    """Have the predictions on the test set written to a file, see :mod:`inimg_mm.predictions`."""
    hook = dict(type='inimg_mm.SavePredictionsHook', out=str(check_output(path)))
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


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
