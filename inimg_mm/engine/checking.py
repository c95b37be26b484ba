"""Find the faults of a config before a training does: channels, weights, gradients, freezing, norms."""

import copy
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from inimg_mm.checkpoints.reading import BACKBONE
from inimg_mm.models.backbones import Backbone
from inimg_mm.nodes import nodes
from inimg_mm.registry import type_name

from .building import build_model
from .checking_weights import check_fit, check_initialisation, pretrained_nodes, quiet, walk
from .findings import Finding
from .random_batch import Size, random_batch

AMP_KEYS = ('type', 'loss_scale', 'dtype', 'use_fsdp')
FEW_BOXES = 16
SYNC_NORMS = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')
READERS = ('neck', 'head', 'decode_head', 'auxiliary_head', 'rpn_head', 'bbox_head', 'mask_head')
"""Parts of the hosts' models that read feature maps."""


class Stop(Exception):
    """The model cannot be checked any further; says why."""


def check_config(
    cfg: Config,
    checkpoint: str | None = None,
    init: bool = True,
    size: Size | None = None,
    trust: bool = False,
) -> list[Finding]:
    """Build the config's model, initialise it, and train one step on random data.

    Args:
        cfg: From :func:`.load_config`; not changed.
        checkpoint: A checkpoint of the whole model whose fit is checked too.
        init: Load what the config's ``init_cfg`` names.
        size: Width and height of the random images, see :func:`.random_batch`.
        trust: Unpickle whatever is in the checkpoint.

    Returns:
        What was found, in the order of a training.
    """
    cfg = copy.deepcopy(cfg)
    _sample_few_boxes(cfg)
    findings = list(_sync_norms(cfg))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        try:
            for finding in _checks(cfg, checkpoint, init, size, trust):
                findings.append(finding)
        except Stop as stop:
            findings.append(Finding('model', True, f'goes no further: {stop}'))
    return findings


def _checks(
    cfg: Config, checkpoint: str | None, init: bool, size: Size | None, trust: bool
) -> Iterator[Finding]:
    try:
        model = revert_sync_batchnorm(build_model(cfg if init else _without_files(cfg)))
    except Exception as error:
        raise Stop(f'{type(error).__name__}: {error}') from error
    names = f'{type(model).__name__} with {type(model.backbone).__name__}'
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    yield Finding('model', False, f'{names}, {millions:.2f} M parameters')
    batch = random_batch(cfg, size)
    channels = list(_channels(cfg, model, batch))
    yield from channels
    yield from check_initialisation(cfg, model, init, trust)
    if checkpoint is not None:
        yield check_fit(model, checkpoint, trust)
    yield _freezing(cfg, model)
    if any(finding.fault for finding in channels):
        raise Stop('its parts do not fit together')
    yield from _one_step(cfg, model, batch)


def _without_files(cfg: Config) -> Config:
    cfg = copy.deepcopy(cfg)
    for _, node in pretrained_nodes(cfg.model):
        node['init_cfg'] = None
    return cfg


def _sample_few_boxes(cfg: Config) -> None:
    """Train the heads on fewer boxes of an image: on a CPU they are most of a detector's step."""
    for node in nodes(cfg.model.get('train_cfg')):
        sampler = node.get('sampler')
        if isinstance(sampler, dict) and sampler.get('num', 0) > FEW_BOXES:
            sampler['num'] = FEW_BOXES


def _sync_norms(cfg: Config) -> Iterator[Finding]:
    if get_device() != 'cpu':
        return
    paths = [path for path, node in walk(cfg.model, 'model') if type_name(node) in SYNC_NORMS]
    if paths:
        yield Finding(
            'norms',
            True,
            f'{len(paths)} norms are synchronised ({paths[0]}), and those run on GPUs only',
            '--cfg-options ' + ' '.join(f'{path}.type=BN' for path in paths),
        )


def _channels(cfg: Config, model: Any, batch: dict[str, list]) -> Iterator[Finding]:
    """Compare what every reader of feature maps expects with what it gets."""
    images = torch.stack(batch['inputs']).float() / 255
    model.eval()
    with torch.no_grad():
        maps = _as_maps(model.backbone(images))
        given, source = [m.shape[1] for m in maps], 'the backbone'
        declared = getattr(model.backbone, 'out_channels', None)
        if isinstance(model.backbone, Backbone) and list(declared or ()) != given:
            yield Finding('channels', True, f'the backbone declares {declared} and gives {given}')
        for path, node in _readers(cfg):
            wanted = node['in_channels']
            read = _read(given, node)
            fits = list(wanted) == read if isinstance(wanted, list | tuple) else read and wanted == read[-1]
            if fits:
                yield Finding('channels', False, f'{path} reads {wanted} of {source}')
            else:
                good = read if isinstance(wanted, list | tuple) else read[-1] if read else given[-1]
                yield Finding(
                    'channels',
                    True,
                    f'{path} expects {wanted}, and {source} gives {given}',
                    f'{path}.in_channels={good!r}'.replace(' ', ''),
                )
                return
            if path == 'model.neck':
                maps = _as_maps(model.neck(maps))
                given, source = [m.shape[1] for m in maps], 'the neck'


def _readers(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """The neck, then the heads, that say how many channels they read."""
    for name in READERS:
        parts = cfg.model.get(name)
        for index, part in enumerate(parts if isinstance(parts, list) else [parts]):
            if part and 'in_channels' in part:
                yield f'model.{name}' + (f'.{index}' if isinstance(parts, list) else ''), part


def _read(given: list[int], node: dict[str, Any]) -> list[int]:
    """Channels of the maps that a head picks."""
    picked = node.get('in_index')
    if picked is None:
        return given
    picked = picked if isinstance(picked, list | tuple) else [picked]
    return [given[index] for index in picked if -len(given) <= index < len(given)]


def _freezing(cfg: Config, model: Any) -> Finding:
    model.train()
    backbone, stages = model.backbone, getattr(model.backbone, 'frozen_stages', -1)
    if stages < 0:
        return Finding('frozen', False, 'nothing')
    wanted = [name for name, _ in backbone.named_children() if not name.startswith('layer')]
    wanted += [f'layer{index}' for index in range(1, stages + 1)]
    parts = {
        name: part
        for name, part in backbone.named_children()
        if name in wanted and any(True for _ in part.parameters())
    }
    faults = []
    for name, part in parts.items():
        learning = sum(p.requires_grad for p in part.parameters())
        moving = sum(m.training for m in part.modules() if isinstance(m, _BatchNorm))
        if learning or moving:
            faults.append(f'{learning} parameters of {name} learn and {moving} of its norms move')
    if faults:
        text = f'frozen_stages={stages}, yet {"; ".join(faults)}'
        return Finding('frozen', True, text, 'a backbone that freezes (any of inimg_mm), or frozen_stages=-1')
    return Finding('frozen', False, f'{", ".join(parts)} (frozen_stages={stages})')


def _one_step(cfg: Config, model: Any, batch: dict[str, list]) -> Iterator[Finding]:
    settings = copy.deepcopy(cfg.get('optim_wrapper') or dict(optimizer=dict(type='SGD', lr=1e-3)))
    kind = type_name(settings)
    if kind == 'DeepSpeedOptimWrapper' or (kind == 'AmpOptimWrapper' and get_device() == 'cpu'):
        settings = {key: value for key, value in settings.items() if key not in AMP_KEYS}
    with quiet():
        wrapper = build_optim_wrapper(model, settings)
    model.train()
    data = model.data_preprocessor(batch, True)
    try:
        loss, values = model.parse_losses(model(**data, mode='loss'))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise Stop(f'{type(error).__name__}: {error} ({place.filename}, line {place.lineno})') from error
    if not torch.isfinite(loss):
        bad = [name for name, value in values.items() if not torch.isfinite(value).all()]
        yield Finding('step', True, f'the loss is {loss.item()}: {", ".join(bad)}')
        return
    wrapper.backward(loss)
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    still = [name for name in learning if model.get_parameter(name).grad is None]
    if not still:
        yield Finding('gradients', False, f'for all {len(learning)} tensors that learn')
    elif cfg.get('find_unused_parameters'):
        text = f'none for {_modules(still)}; DDP knows (find_unused_parameters=True)'
        yield Finding('gradients', False, text)
    else:
        text = f'none for {len(still)} tensors: nothing reads {_modules(still)}, and DDP would hang'
        yield Finding('gradients', True, text, _unused_remedy(still))
    wrapper.step()
    wrapper.zero_grad()
    broken = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
    if broken:
        yield Finding('step', True, f'after one, {_modules(broken)} is not finite')
    else:
        yield Finding('step', False, f'one, with a loss of {loss.item():.3f}')


def _unused_remedy(names: Sequence[str]) -> str:
    if all(name.startswith(f'{BACKBONE}layer') for name in names):
        first = min(int(name[len(BACKBONE) + 5 :].split('.')[0]) for name in names)
        return f'model.backbone.num_stages={first - 1} with the out_indices that are read'
    return 'find_unused_parameters=True, or take the part out of the model'


def _modules(names: Sequence[str]) -> str:
    parts = list(dict.fromkeys('.'.join(name.split('.')[:2]) for name in names))
    return ', '.join(parts[:6]) + (', …' if len(parts) > 6 else '')


def _as_maps(maps: Any) -> list[Tensor]:
    return [maps] if torch.is_tensor(maps) else list(maps)
