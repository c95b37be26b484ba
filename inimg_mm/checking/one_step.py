"""One step of a training, and what its gradients tell."""

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from inimg_mm.checkpoints.reading import BACKBONE
from inimg_mm.config_tree import type_name
from inimg_mm.models.backbones import Backbone

from .findings import FAULT, NOTE, OK, UNCHECKED, Finding, Stop, failure
from .from_scratch import stages_of
from .weights import quiet

AMP_KEYS = ('type', 'loss_scale', 'dtype', 'use_fsdp')
TRIES = 2
"""A tensor whose gradient is exactly zero in so many places of the model will stay as it is."""


def take_a_step(
    cfg: Config, model: Any, batch: Any, backbones: Sequence[str], roi: Sequence[str] = ()
) -> Iterator[Finding]:
    """Train a model for a step on a batch; where gradients are exactly zero, look again elsewhere.

    Args:
        cfg: Config of the training.
        model: The model, initialised.
        batch: What its data preprocessor takes.
        backbones: The places in the config of the backbones whose gradients are looked at: not of those that
            were not given the file that they start from.
        roi: What may be changed in a second stage that does not fit.

    Raises:
        Stop: If the model has no loss, or its optimizer cannot be built.
    """
    wrapper = _optimizer(cfg, model)
    model.train()
    with _at_the_start(cfg, model):
        loss, values = _losses(model, batch, roi)
        if not torch.isfinite(loss):
            bad = [name for name, value in values.items() if not torch.isfinite(value).all()]
            yield Finding('step', FAULT, f'the loss is {loss.item()}: {", ".join(bad)}')
            return
        wrapper.backward(loss)
        yield _missing(cfg, model)
        still = _zero_gradients(model) if backbones else set()
        wrapper.step()
        wrapper.zero_grad()
        broken = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
        if broken:
            yield Finding('step', FAULT, f'after one, {_modules(broken)} is not finite')
            return
        for seed in range(TRIES):
            if still:
                _shake(model, seed)
                again, _ = _losses(model, batch)
                wrapper.backward(again)
                still &= _zero_gradients(model)
                wrapper.zero_grad()
    if still:
        yield from _never_learning(model, still, backbones)
    yield Finding('step', OK, f'one, with a loss of {loss.item():.3f}')


def _optimizer(cfg: Config, model: Any) -> Any:
    settings = copy.deepcopy(cfg.get('optim_wrapper') or dict(optimizer=dict(type='SGD', lr=1e-3)))
    kind = type_name(settings)
    if kind == 'DeepSpeedOptimWrapper' or (kind == 'AmpOptimWrapper' and get_device() == 'cpu'):
        settings = {key: value for key, value in settings.items() if key not in AMP_KEYS}
    try:
        with quiet():
            return build_optim_wrapper(model, settings)
    except Exception as error:
        raise Stop(f'the optimizer cannot be built: {failure(error)}') from error


def _losses(model: Any, batch: Any, roi: Sequence[str] = ()) -> tuple[Tensor, dict[str, Tensor]]:
    try:
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        losses = model(**data, mode='loss') if isinstance(data, dict) else model(*data, mode='loss')
        return model.parse_losses(losses)
    except Exception as error:
        if missing := re.search(r'(\w+?)(_impl)?: implementation for device (\w+) not found', str(error)):
            text = f'{missing[1]} of mmcv does not run on this machine (no code for {missing[3]})'
            raise Stop(text, state=UNCHECKED) from error
        raise Stop(failure(error), tuple(roi)) from error


@contextmanager
def _at_the_start(cfg: Config, model: Any) -> Iterator[None]:
    """What a runner tells models and losses that ask where the training is."""
    hub = MessageHub.get_instance('check_config')
    training = cfg.get('train_cfg') or {}
    for name, value in dict(epoch=0, iter=0, max_epochs=12, max_iters=10000).items():
        hub.update_info(name, training.get(name, value))
    for part in model.modules():
        if callable(getattr(part, 'set_epoch', None)):
            part.set_epoch(0)
    try:
        yield
    finally:
        MessageHub._instance_dict.pop('check_config', None)


def _missing(cfg: Config, model: Any) -> Finding:
    """The tensors that no loss reaches."""
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    still = [name for name in learning if model.get_parameter(name).grad is None]
    if not still:
        return Finding('gradients', OK, f'for all {len(learning)} tensors that learn')
    if _knows_unused(cfg):
        text = f'none for {_modules(still)}; DDP knows (find_unused_parameters=True)'
        return Finding('gradients', OK, text)
    text = f'none for {len(still)} tensors: nothing reads {_modules(still)}, and DDP would hang'
    return Finding('gradients', FAULT, text, _unused_remedies(model, still))


def _knows_unused(cfg: Config) -> bool:
    wrapper = cfg.get('model_wrapper_cfg') or {}
    return bool(cfg.get('find_unused_parameters') or wrapper.get('find_unused_parameters'))


def _unused_remedies(model: Any, names: Sequence[str]) -> tuple[str, ...]:
    """How to leave out the stages that nothing reads; ours build those that ``out_indices`` asks for."""
    backbone = getattr(model, 'backbone', None)
    found: tuple[str, ...] = ()
    if isinstance(backbone, Backbone) and all(name.startswith(BACKBONE) for name in names):
        stages = stages_of(backbone)
        first = min(stages.get(name.removeprefix(BACKBONE).split('.')[0], 0) for name in names)
        if read := [index for index in backbone.out_indices if index < first]:
            found = (f'model.backbone.out_indices={read}'.replace(' ', ''),)
    return (*found, 'find_unused_parameters=True')


def _zero_gradients(model: Any) -> set[str]:
    """The tensors that learn, and whose gradients are exactly zero in every value."""
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is not None and not parameter.grad.any()
    }


def _shake(model: Any, seed: int) -> None:
    """Move every parameter that learns, so that what starts at zero, or is behind a dead unit, opens."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(0.3 * noise * parameter.square().mean().sqrt().clamp(0.1))


def _never_learning(model: Any, names: set[str], backbones: Sequence[str]) -> Iterator[Finding]:
    """Tensors that learn and never will, in the order of the model: in backbones, and in other parts."""
    ordered = [name for name, _ in model.named_parameters() if name in names]
    for path in backbones:
        prefix = f'{path.partition(".")[2]}.'
        inside = [name for name in ordered if name.startswith(prefix)]
        if inside and _has_dead_norms(model, prefix):
            text = (
                f'exactly zero, and they stay so, for {len(inside)} tensors of {path} ({_modules(inside)}): '
                'they are multiplied by norms that are zero and do not learn'
            )
            remedies = (f'{path}.norm_cfg.requires_grad=True', f'{path}.zero_init_residual=False')
            yield Finding('gradients', FAULT, text, remedies)
            ordered = [name for name in ordered if name not in inside]
    if ordered:
        text = f'exactly zero on this batch, for {len(ordered)} tensors: {_modules(ordered)}'
        yield Finding('gradients', NOTE, text)


def _has_dead_norms(model: Any, prefix: str) -> bool:
    """Whether a part has norms whose weights are zero and do not learn."""
    return any(
        not parameter.requires_grad and parameter.ndim == 1 and not parameter.any()
        for name, parameter in model.named_parameters()
        if name.startswith(prefix) and name.endswith('weight')
    )


def _modules(names: Sequence[str]) -> str:
    parts = list(dict.fromkeys('.'.join(name.split('.')[:2]) for name in names))
    return ', '.join(parts[:6]) + (', …' if len(parts) > 6 else '')
