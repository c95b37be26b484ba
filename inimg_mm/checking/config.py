"""Find the faults of a config before a training does: data, channels, weights, gradients, freezing, norms."""

import copy
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from inimg_mm.config_tree import SYNC_NORMS, nodes, type_name, walk
from inimg_mm.errors import UsageError
from inimg_mm.hosts.host import Size
from inimg_mm.hosts.made_up import image_channels
from inimg_mm.hosts.random_batch import PANOPTIC, BuildError, random_batch, real_batch
from inimg_mm.hosts.sizes import at_size
from inimg_mm.registry import build_model

from .agreement import check_agreement
from .backbones import backbones_of, owners
from .channels import SIDE, check_channels, roi_remedies
from .findings import FAULT, NOTE, OK, UNCHECKED, Finding, Stop, failure
from .from_scratch import check_from_scratch, frozen_parts
from .heatmaps import check_heatmaps
from .one_step import take_a_step
from .outline import Outline
from .remedies import with_tried_remedies
from .weights import check_initialisation, check_whole, pretrained_nodes, without_files

FEW_BOXES = 16
Reader = Callable[[Config], tuple[Any, Finding | None]]
"""Gives a batch of a config's own data, or None, and what is to be said of it."""


def check_config(
    cfg: Config,
    checkpoint: str | None = None,
    init: bool = True,
    size: Size | None = None,
    trust: bool = False,
    prepare: Callable[[Any], None] = lambda data: None,
) -> list[Finding]:
    """Build the config's model, initialise it, and train one step on a batch of its own pipeline.

    The batch is of the training data where that is there, else of made-up images.

    Args:
        cfg: From :func:`.load_config`; not changed.
        checkpoint: A checkpoint of the whole model whose fit is checked too.
        init: Load what the config's ``init_cfg`` names.
        size: Width and height of the images, see :func:`.random_batch`.
        trust: Unpickle whatever is in the checkpoint.
        prepare: Is given the training data set before samples are drawn, see :func:`.guard_as_a_training`.

    Returns:
        What was found, in the order of a training. What is said to be changed was tried, where it is a line
        of the config.

    Raises:
        UsageError: If images cannot have the size.
    """
    cfg = at_size(copy.deepcopy(cfg), size)
    check = partial(_findings, checkpoint=checkpoint, init=init, trust=trust, read=_reading_once(prepare))
    return with_tried_remedies(cfg, list(check(cfg)), check)


def _findings(
    cfg: Config, checkpoint: str | None, init: bool, trust: bool, read: Reader
) -> Iterator[Finding]:
    cfg = copy.deepcopy(cfg)
    _sample_few_boxes(cfg)
    yield from _sync_norms(cfg)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        try:
            yield from _checks(cfg, checkpoint, init, trust, read)
        except Stop as stop:
            yield Finding('model', stop.state, f'goes no further: {stop}', stop.remedies)


def _checks(cfg: Config, checkpoint: str | None, init: bool, trust: bool, read: Reader) -> Iterator[Finding]:
    yield from check_agreement(cfg, ('train_dataloader', 'val_dataloader'))
    yield from check_heatmaps(Outline(cfg))
    if not cfg.get('load_from') and not cfg.get('resume'):
        yield from check_from_scratch(cfg)
    model = _build(cfg if init else without_files(cfg))
    backbones = backbones_of(cfg, model)
    seen = ' and '.join(type(part).__name__ for part in backbones.values())
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    yield Finding(
        'model', OK, f'{type(model).__name__} with {seen or "no backbone"}, {millions:.2f} M parameters'
    )
    batch, refused, note = _batch(cfg, read)
    if note is not None:
        yield note
    if importlib.util.find_spec('panopticapi') is None and any(
        type_name(node) == PANOPTIC for node in nodes(cfg.get('train_dataloader'))
    ):
        text = 'a training needs panopticapi, which is not installed'
        yield Finding('data', NOTE, text, ('pip install git+https://github.com/cocodataset/panopticapi.git',))
    wrong: list[Finding] = []
    given: list[int] = []
    images = _images(cfg, model, batch)
    for place, node, part in owners(cfg, model):
        found, given = check_channels(node, part, images, place)
        wrong += [finding for finding in found if finding.fault]
        yield from found
    yield from check_initialisation(cfg, model, init, trust)
    if checkpoint is not None:
        yield from check_whole(cfg, model, checkpoint, trust)
    if init and cfg.get('load_from') and not cfg.get('resume'):
        yield from check_whole(cfg, model, cfg.load_from, trust, heads=False)
    model.train()
    for path, part in backbones.items():
        yield _freezing(part, '' if len(backbones) == 1 else f'{path}: ')
    if wrong:
        raise Stop('its parts do not fit together')
    if refused is not None:
        yield refused
    else:
        random = init or not any(True for _ in pretrained_nodes(cfg.model))
        roi = roi_remedies(cfg.model, given)
        yield from take_a_step(cfg, model, batch, list(backbones) if random else [], roi)


def _build(cfg: Config) -> Any:
    try:
        return revert_sync_batchnorm(build_model(cfg))
    except Exception as error:
        state = UNCHECKED if isinstance(error, ImportError) else FAULT
        text = str(error) if isinstance(error, ValueError) else f'{type(error).__name__}: {error}'
        raise Stop(text, state=state) from error


def _reading_once(prepare: Callable[[Any], None]) -> Reader:
    """A reader of real batches that reads the data of a loader once, however many remedies are tried."""
    known: dict[str, tuple[Any, Finding | None]] = {}

    def read(cfg: Config) -> tuple[Any, Finding | None]:
        key = str(cfg.get('train_dataloader'))
        if key not in known:
            known[key] = _real_batch(cfg, prepare)
        return known[key]

    return read


def _real_batch(cfg: Config, prepare: Callable[[Any], None]) -> tuple[Any, Finding | None]:
    """A batch of the data, if it is there, and what is to be said of it."""
    try:
        batch = real_batch(cfg, prepare=prepare)
    except UsageError as error:
        return None, Finding('data', FAULT, str(error))
    except Exception as error:
        text = f'the training data gives no batch, so that made-up images are tried: {failure(error)}'
        return None, Finding('data', NOTE, text)
    return batch, None if batch is None else Finding(
        'data', OK, 'a batch of the training data goes through its pipeline'
    )


def _batch(cfg: Config, read: Reader) -> tuple[Any, Finding | None, Finding | None]:
    """A batch, or why there is none; and what it is of, if the data is there."""
    batch, note = read(cfg)
    if batch is not None:
        return batch, None, note
    try:
        return random_batch(cfg), None, note
    except BuildError as error:  # a transform that is not there, or does not take what it is given
        state = UNCHECKED if isinstance(error.__cause__, ImportError | OSError) else FAULT
        return None, Finding('data', state, f'the data pipeline cannot be built: {error}'), None
    except UsageError as error:
        return None, Finding('step', UNCHECKED, str(error)), note
    except Exception as error:
        text = f"the config's pipeline makes no batch of made-up images: {failure(error)}"
        return None, Finding('step', UNCHECKED, text), note


def _images(cfg: Config, model: Any, batch: Any) -> Tensor:
    """A piece of the batch's images as the backbone gets them; without a batch, of noise."""
    try:
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        image = next(_image_tensors(data['inputs']))
    except Exception:  # no batch, or one that the step will find wrong
        image = torch.rand(2, image_channels(cfg.model), SIDE, SIDE)
    return image[..., :SIDE, :SIDE]


def _image_tensors(inputs: Any) -> Iterator[Tensor]:
    """Tensors of images in what a data preprocessor gives: alone, a view or branch each, or as videos."""
    if isinstance(inputs, dict):
        inputs = list(inputs.values())
    if isinstance(inputs, list | tuple):
        for part in inputs:
            yield from _image_tensors(part)
    elif torch.is_tensor(inputs) and inputs.ndim >= 4:
        yield inputs.flatten(0, -4)


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
        text = (
            f'{len(paths)} are synchronised ({paths[0]}): a training without a GPU makes plain ones of them'
        )
        yield Finding('norms', NOTE, text)


def _freezing(backbone: Any, place: str) -> Finding:
    stages = getattr(backbone, 'frozen_stages', -1)
    if stages < 0:
        return Finding('frozen', OK, f'{place}nothing')
    names, faults = frozen_parts(backbone, stages), []
    for name in names:
        part = getattr(backbone, name)
        learning = sum(p.requires_grad for p in part.parameters())
        moving = sum(m.training for m in part.modules() if isinstance(m, _BatchNorm))
        if learning or moving:
            faults.append(f'{learning} parameters of {name} learn and {moving} of its norms move')
    if faults:
        text = f'{place}frozen_stages={stages}, yet {"; ".join(faults)}'
        remedy = 'a backbone that freezes (any of inimg_mm), or frozen_stages=-1'
        return Finding('frozen', FAULT, text, (remedy,))
    return Finding('frozen', OK, f'{place}{", ".join(names)} (frozen_stages={stages})')
