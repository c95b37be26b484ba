"""Find the faults of a config before a training does: channels, weights, gradients, freezing, norms."""

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch.nn.modules.batchnorm import _BatchNorm

from inimg_mm.checkpoints.reading import BACKBONE
from inimg_mm.config_tree import nodes, type_name, walk
from inimg_mm.hosts.random_batch import Size, random_batch
from inimg_mm.models.backbones import Backbone
from inimg_mm.registry import build_model

from .channels import check_channels, roi_remedy
from .findings import Finding, Stop, failure
from .weights import check_initialisation, check_whole, pretrained_nodes, quiet

AMP_KEYS = ('type', 'loss_scale', 'dtype', 'use_fsdp')
FEW_BOXES = 16
SYNC_NORMS = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')


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
            findings.append(Finding('model', True, f'goes no further: {stop}', stop.remedy))
    return findings


def _checks(
    cfg: Config, checkpoint: str | None, init: bool, size: Size | None, trust: bool
) -> Iterator[Finding]:
    try:
        model = revert_sync_batchnorm(build_model(cfg if init else _without_files(cfg)))
    except Exception as error:
        raise Stop(f'{type(error).__name__}: {error}') from error
    if not hasattr(model, 'backbone'):
        raise Stop(f'{type(model).__name__} has no backbone of its own')
    names = f'{type(model).__name__} with {type(model.backbone).__name__}'
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    yield Finding('model', False, f'{names}, {millions:.2f} M parameters')
    batch = random_batch(cfg, size)
    findings, channels = check_channels(cfg, model, batch)
    yield from findings
    yield from check_initialisation(cfg, model, init, trust)
    if checkpoint is not None:
        yield check_whole(model, checkpoint, trust)
    if init and cfg.get('load_from') and not cfg.get('resume'):
        yield check_whole(model, cfg.load_from, trust, heads=False)
    yield _freezing(cfg, model)
    if any(finding.fault for finding in findings):
        raise Stop('its parts do not fit together')
    yield from _one_step(cfg, model, batch, channels)


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


def _freezing(cfg: Config, model: Any) -> Finding:
    model.train()
    backbone, stages = model.backbone, getattr(model.backbone, 'frozen_stages', -1)
    if stages < 0:
        return Finding('frozen', False, 'nothing')
    stage_of = _stages(backbone)
    parts = {
        name: part
        for name, part in backbone.named_children()
        if stage_of.get(name, -1) < stages and any(True for _ in part.parameters())
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


def _stages(backbone: Any) -> dict[str, int]:
    """The stage, from 0, of each part of a backbone but its stem: the hosts' have one ``layer…`` a stage."""
    parts = dict(backbone.named_children())
    if isinstance(backbone, Backbone):
        stages = [backbone.stage_modules(stage) for stage in range(backbone.num_stages)]
        return {
            n: stage for stage, modules in enumerate(stages) for n, part in parts.items() if part in modules
        }
    return {name: int(name[5:]) - 1 for name in parts if re.fullmatch(r'layer\d+', name)}


def _one_step(cfg: Config, model: Any, batch: dict[str, list], channels: list[int]) -> Iterator[Finding]:
    settings = copy.deepcopy(cfg.get('optim_wrapper') or dict(optimizer=dict(type='SGD', lr=1e-3)))
    kind = type_name(settings)
    if kind == 'DeepSpeedOptimWrapper' or (kind == 'AmpOptimWrapper' and get_device() == 'cpu'):
        settings = {key: value for key, value in settings.items() if key not in AMP_KEYS}
    try:
        with quiet():
            wrapper = build_optim_wrapper(model, settings)
    except Exception as error:
        raise Stop(f'the optimizer cannot be built: {failure(error)}') from error
    model.train()
    data = model.data_preprocessor(batch, True)
    try:
        loss, values = model.parse_losses(model(**data, mode='loss'))
    except Exception as error:
        raise Stop(failure(error), roi_remedy(cfg, channels)) from error
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
        yield Finding('gradients', True, text, _unused_remedy(model.backbone, still))
    wrapper.step()
    wrapper.zero_grad()
    broken = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
    if broken:
        yield Finding('step', True, f'after one, {_modules(broken)} is not finite')
    else:
        yield Finding('step', False, f'one, with a loss of {loss.item():.3f}')


def _unused_remedy(backbone: Any, names: Sequence[str]) -> str:
    """How to leave out the stages that nothing reads; ours build those that ``out_indices`` asks for."""
    if isinstance(backbone, Backbone) and all(name.startswith(BACKBONE) for name in names):
        stages = _stages(backbone)
        first = min(stages.get(name.removeprefix(BACKBONE).split('.')[0], 0) for name in names)
        if read := [index for index in backbone.out_indices if index < first]:
            return f'model.backbone.out_indices={read}'.replace(' ', '')
    return 'find_unused_parameters=True, or take the part out of the model'


def _modules(names: Sequence[str]) -> str:
    parts = list(dict.fromkeys('.'.join(name.split('.')[:2]) for name in names))
    return ', '.join(parts[:6]) + (', …' if len(parts) > 6 else '')
