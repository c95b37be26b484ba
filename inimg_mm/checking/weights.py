"""Whether the weights that a config names reach its model, and stay."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from torch import Tensor

from inimg_mm.checkpoints import fitting, layouts
from inimg_mm.checkpoints.fitting import ENOUGH, Fit, grouped, is_enough, match, whole_fit
from inimg_mm.checkpoints.own_config import differences
from inimg_mm.checkpoints.pretrained import Pretrained
from inimg_mm.checkpoints.reading import BACKBONE, open_checkpoint, read_state_dict
from inimg_mm.config_tree import is_pretrained, walk
from inimg_mm.errors import CheckpointError
from inimg_mm.models.attention import GATES
from inimg_mm.models.backbones import Backbone

from .backbones import part_of
from .findings import FAULT, NOTE, OK, Finding, failure
from .remedies import options_of


def check_initialisation(
    cfg: Config, model: Any, init: bool = True, trust: bool = False
) -> Iterator[Finding]:
    """Initialise the model, and look whether every part that names a file holds it afterwards."""
    named = [
        (path, node)
        for path, node in pretrained_nodes(cfg.model)
        if init and part_of(model, path) is not None
    ]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    alone = {}
    path = 'model'
    try:
        for path, node in named:
            alone[path] = _loaded_alone(part_of(model, path), _pretrained(node), trust)
        with quiet():
            model.init_weights()
    except Exception as error:  # of a checkpoint, of options, or of a host's initialisers
        text = str(error) if isinstance(error, ValueError | OSError) else failure(error)
        yield Finding('weights', FAULT, f'{path}: {text}', _remedies(cfg, path, error))
        return
    for path, node in named:
        yield _kept(part_of(model, path), path, *alone[path], _pretrained(node))
    if not named:
        changed = sum(not torch.equal(before[name], value) for name, value in model.state_dict().items())
        text = f'from scratch: init_weights sets {changed} of {len(before)} tensors'
        yield Finding('weights', OK, text if init else f'{text} (no file is loaded: --no-init)')


def _remedies(cfg: Config, path: str, error: Exception) -> tuple[str, ...]:
    """What to write in place of a file that does not fit."""
    if remedy := getattr(error, 'remedy', ''):
        return (f'{path}.{remedy}',)
    node, written = dict(pretrained_nodes(cfg.model)).get(path, {}), dict(walk(cfg.model, 'model'))
    file = _pretrained(node).get('checkpoint')
    if not isinstance(error, CheckpointError) or not (others := _nets_that_fit(node)):
        handed = [f'{place}.pretrained' for place, part in written.items() if part.get('pretrained')]
        line = handed[0] if handed and not written[path].get('init_cfg') else f'{path}.init_cfg'
        return (f'{line}=None to train from scratch',)
    return (
        *(f'{path}.{other}' for other in others),
        f'the weights of this net, or {path}.{others[0]}, which fits {file}, and the channels that follow',
    )


def _nets_that_fit(node: dict[str, Any]) -> list[str]:
    """The depths and gates with which a backbone of ours has what its file has."""
    kind = MODELS.get(str(node.get('type')))
    if not isinstance(kind, type) or not issubclass(kind, Backbone):
        return []
    try:
        file = _pretrained(node)
        state = layouts.to_native(read_state_dict(file['checkpoint'], file.get('prefix')))
    except CheckpointError:
        return []
    options = [f'depth={depth}' for depth in getattr(kind, 'arch_settings', {})]
    options += [f'attention=dict(type={name!r})' for name in GATES]
    return [option for option in options if _fits(node, option, state)]


def _fits(node: dict[str, Any], option: str, state: dict[str, Tensor]) -> bool:
    try:
        with torch.device('meta'):
            net = MODELS.build({**node, **(options_of(option) or {}), 'init_cfg': None})
    except ValueError:
        return False
    fit = match(net.state_dict(), state)
    return fit.share >= ENOUGH and not fit.stray


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


def _kept(part: Any, path: str, fit: Fit, expected: dict[str, Tensor], given: dict[str, Any]) -> Finding:
    own, init_cfg, min_loaded = part.state_dict(), f'{path}.init_cfg', given.get('min_loaded', ENOUGH)
    lost = [name for name, value in expected.items() if not torch.equal(own[name], value)]
    if lost:
        text = f'{len(lost)} tensors of {path} are overwritten after its file was loaded: {grouped(lost)}'
        remedy = f'{init_cfg} without the initialiser that follows Pretrained'
        return Finding('weights', FAULT, text, (remedy,))
    whole = match(*({name: v for name, v in d.items() if name.startswith(BACKBONE)} for d in (own, expected)))
    if fit.share < min_loaded and not (whole.loaded and is_enough(whole)):  # a new head may be missing
        text = f'the file fills {fit} of {path}'
        prefixes = [f'{init_cfg}.prefix={prefix!r}' for prefix in _prefixes(given)]
        return Finding('weights', FAULT, text, (*prefixes, f"{init_cfg}.type='inimg_mm.Pretrained'"))
    return Finding('weights', OK, f'{path} holds its file: {fit}')


def _prefixes(given: dict[str, Any]) -> list[str]:
    """What stands before the names of the backbones in a file, where no prefix was given."""
    return (
        [] if given.get('prefix') else fitting.prefixes_of_backbones(read_state_dict(given['checkpoint'], ''))
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without mmengine's lines for every parameter."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_whole(
    cfg: Config, model: Any, checkpoint: str, trust: bool = False, heads: bool = True
) -> Iterator[Finding]:
    """Look whether a checkpoint fills the whole model, or without ``heads`` at least its backbone.

    A backbone that it was trained with otherwise is a fault where the whole model is compared, which
    computes something else then; a training may begin with other arguments.
    """
    try:
        opened = open_checkpoint(checkpoint, trust)
        state = opened.part('')
    except CheckpointError as error:
        yield Finding('checkpoint', FAULT, str(error))
        return
    fit, backbone = whole_fit(model, state)
    if is_enough(fit) or (not heads and is_enough(backbone)):
        yield Finding('checkpoint', OK, f'{checkpoint}: {fit}')
        for difference in differences(cfg, opened):
            text = f'{checkpoint} was trained with another backbone: {difference}'
            yield Finding('checkpoint', FAULT if heads else NOTE, text, (difference.option,))
    elif hasattr(model, 'backbone') and is_enough(match(model.backbone.state_dict(), state)):
        yield Finding(
            'checkpoint',
            FAULT,
            f"{checkpoint} holds the backbone alone, its names without the prefix '{BACKBONE}': {fit}",
            (
                f"model.backbone.init_cfg=dict(type='inimg_mm.Pretrained', checkpoint={checkpoint!r}) "
                'in place of it',
            ),
        )
    else:
        remedy = f'python tools/inspect_checkpoint.py {checkpoint} tells which of ours it fits'
        yield Finding('checkpoint', FAULT, f'{checkpoint} is of another model: {fit}', (remedy,))


def _pretrained(node: dict[str, Any]) -> dict[str, Any]:
    listed = node.get('init_cfg')
    for cfg in listed if isinstance(listed, list | tuple) else [listed]:
        if cfg and is_pretrained(cfg):
            return cfg
    return {}


def _is_ours(kind: Any) -> bool:
    return kind is Pretrained or str(kind).startswith('inimg_mm.')


def pretrained_nodes(settings: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of a model's settings that name a checkpoint, with their dotted paths.

    A model's ``pretrained`` is its backbone's file, see :func:`without_files`.
    """
    for path, node in walk(settings, 'model'):
        if _pretrained(node):
            yield path, node
        elif file := node.get('pretrained'):
            inner = 'backbone' in node
            file_of = dict(node['backbone'] if inner else node)
            file_of['init_cfg'] = dict(type='Pretrained', checkpoint=file)
            yield f'{path}.backbone' if inner else path, file_of


def without_files(cfg: Config) -> Config:
    """A config whose model names no checkpoint, neither as ``init_cfg`` nor as ``pretrained``."""
    cfg = copy.deepcopy(cfg)
    for _, node in walk(cfg.model, 'model'):
        if _pretrained(node):
            node['init_cfg'] = None
        if node.get('pretrained'):
            node['pretrained'] = None
    return cfg
