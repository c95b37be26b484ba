"""Whether the weights that a config names reach its model, and stay."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import Tensor

from inimg_mm.checkpoints.fitting import ENOUGH, Fit, grouped, is_enough, match, whole_fit
from inimg_mm.checkpoints.pretrained import Pretrained
from inimg_mm.checkpoints.reading import BACKBONE, open_checkpoint, read_state_dict
from inimg_mm.config_tree import is_pretrained, walk
from inimg_mm.errors import CheckpointError
from inimg_mm.models.backbones import Backbone

from .findings import Finding, failure


def check_initialisation(
    cfg: Config, model: Any, init: bool = True, trust: bool = False
) -> Iterator[Finding]:
    """Initialise the model, and look whether every part that names a file holds it afterwards."""
    named = list(pretrained_nodes(cfg.model)) if init else []
    before = {name: value.clone() for name, value in model.state_dict().items()}
    alone = {}
    path = 'model'
    try:
        for path, node in named:
            alone[path] = _loaded_alone(_part(model, path), _pretrained(node), trust)
        with quiet():
            model.init_weights()
    except Exception as error:  # of a checkpoint, of options, or of a host's initialisers
        text = str(error) if isinstance(error, ValueError | OSError) else failure(error)
        remedy = getattr(error, 'remedy', '') or 'init_cfg=None to train from scratch'
        yield Finding('weights', True, f'{path}: {text}', f'{path}.{remedy}')
        return
    for path, node in named:
        yield _kept(_part(model, path), path, *alone[path], _pretrained(node).get('min_loaded', ENOUGH))
    if not named:
        changed = sum(not torch.equal(before[name], value) for name, value in model.state_dict().items())
        text = f'from scratch: init_weights sets {changed} of {len(before)} tensors'
        yield Finding('weights', False, text if init else f'{text} (no file is loaded: --no-init)')


def _loaded_alone(part: Any, init_cfg: dict[str, Any], trust: bool) -> tuple[Fit, dict[str, Tensor]]:
    """What fits a part, and what it holds when only that has been loaded."""
    options = {key: value for key, value in init_cfg.items() if key != 'type'}
    if isinstance(part, Backbone) or _is_ours(init_cfg['type']):
        part = copy.deepcopy(part)
        part.init_cfg = None
        with quiet():
            fit = Pretrained(**{**options, 'trust': trust or options.get('trust', False)})(part)
        return fit, {name: part.state_dict()[name] for name in fit.loaded}
    state = read_state_dict(options['checkpoint'], options.get('prefix') or '', trust)
    fit = match(part.state_dict(), state)
    return fit, {name: state[name] for name in fit.loaded}


def _kept(part: Any, path: str, fit: Fit, expected: dict[str, Tensor], min_loaded: float) -> Finding:
    own, init_cfg = part.state_dict(), f'{path}.init_cfg'
    lost = [name for name, value in expected.items() if not torch.equal(own[name], value)]
    if lost:
        text = f'{len(lost)} tensors of {path} are overwritten after its file was loaded: {grouped(lost)}'
        return Finding('weights', True, text, f'{init_cfg} without the initialiser that follows Pretrained')
    if fit.share < min_loaded:
        text = f'the file fills {fit} of {path}'
        return Finding('weights', True, text, f"{init_cfg}.type='inimg_mm.Pretrained', which says what fits")
    return Finding('weights', False, f'{path} holds its file: {fit}')


@contextmanager
def quiet() -> Iterator[None]:
    """Without mmengine's line for every parameter."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_whole(model: Any, checkpoint: str, trust: bool = False, heads: bool = True) -> Finding:
    """Look whether a checkpoint fills the whole model, or without ``heads`` at least its backbone."""
    try:
        state = open_checkpoint(checkpoint, trust).part('')
    except CheckpointError as error:
        return Finding('checkpoint', True, str(error))
    fit, backbone = whole_fit(model, state)
    if is_enough(fit) or (not heads and is_enough(backbone)):
        return Finding('checkpoint', False, f'{checkpoint}: {fit}')
    if is_enough(match(model.backbone.state_dict(), state)):
        return Finding(
            'checkpoint',
            True,
            f"{checkpoint} holds the backbone alone, its names without the prefix '{BACKBONE}': {fit}",
            f"model.backbone.init_cfg=dict(type='inimg_mm.Pretrained', checkpoint={checkpoint!r})",
        )
    return Finding(
        'checkpoint',
        True,
        f'{checkpoint} is of another model: {fit}',
        f'python tools/inspect_checkpoint.py {checkpoint} tells which of ours it fits',
    )


def _pretrained(node: dict[str, Any]) -> dict[str, Any]:
    listed = node.get('init_cfg')
    for cfg in listed if isinstance(listed, list | tuple) else [listed]:
        if cfg and is_pretrained(cfg):
            return cfg
    return {}


def _is_ours(kind: Any) -> bool:
    return kind is Pretrained or str(kind).startswith('inimg_mm.')


def pretrained_nodes(settings: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of a model's settings that name a checkpoint, with their dotted paths."""
    return ((path, node) for path, node in walk(settings, 'model') if _pretrained(node))


def _part(model: Any, path: str) -> Any:
    return model.get_submodule(path.partition('.')[2])
