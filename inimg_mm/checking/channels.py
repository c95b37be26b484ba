"""Whether the parts of a model read the channels that they get."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from inimg_mm.config_tree import Node
from inimg_mm.hosts.made_up import image_channels
from inimg_mm.models.backbones import Backbone

from .backbones import owners
from .findings import FAULT, OK, Finding
from .outline import Outline

HEADS = (
    'head', 'decode_head', 'auxiliary_head', 'rpn_head', 'bbox_head', 'mask_head', 'panoptic_head',
    'semantic_head',
)  # fmt: skip
"""Parts of the hosts' models that read the feature maps of the backbone, or of the necks behind it."""
SIDE = 128
"""Pixels of the pieces of images on which channels are compared."""


def misfits(outline: Outline) -> list[Finding]:
    """The faults of :func:`check_channels` that an outline shows.

    What does not run on tensors without values is left out.
    """
    cfg = outline.cfg
    try:
        with outline.at_work():
            images = torch.empty(2, image_channels(cfg.model), SIDE, SIDE)
            parts = list(owners(cfg, outline.model))
            found = [check_channels(node, part, images, place)[0] for place, node, part in parts]
    except Exception:  # which the training itself will say
        return []
    return [finding for findings in found for finding in findings if finding.fault]


def check_channels(
    node: Node, model: Any, images: Tensor, place: str = 'model'
) -> tuple[list[Finding], list[int]]:
    """Compare what every reader of feature maps expects with what it gets.

    Args:
        node: Config of a model with a backbone.
        model: The model, or the part of one, that was built of it.
        images: (N, C, H, W), as the backbone gets them.
        place: Where the config stands.

    Returns:
        What was found, up to the first fault or to a part that does not run by itself, and the channels that
        the heads get; none if the backbone does not run.
    """
    model.eval()
    with torch.no_grad():
        if (finding := _image_channels(node, images, place)) is not None:
            return [finding], []
        maps = _run(model.backbone, images)
        if maps is None:
            return [], []
        findings, given, source = [], _channels(maps), 'the backbone'
        declared = getattr(model.backbone, 'out_channels', None)
        if isinstance(model.backbone, Backbone) and list(declared or ()) != given:
            text = f'the backbone declares {declared} and gives {given}'
            findings.append(Finding('channels', FAULT, text))
        for path, part, neck in _necks(node, model, place):
            finding = _compare(path, part, given, source) if 'in_channels' in part else None
            maps = _run(neck, maps)
            if maps is None:
                return [*findings, *([finding] if finding and finding.fault else [])], given
            if finding is not None and not finding.fault:  # a neck that runs all the same has its own order
                findings.append(finding)
            given, source = _channels(maps), 'the neck'
        for path, part in _heads(node, place):
            findings.append(_compare(path, part, given, source))
            if not findings[-1].fault and part.get('c1_in_channels', given[0]) != given[0]:
                findings.append(_first_map(path, part, given[0], source))
            if findings[-1].fault:
                break
    return findings, given


def _image_channels(node: Node, images: Tensor, place: str) -> Finding | None:
    """A fault if the images have other channels than the backbone reads."""
    backbone = node.get('backbone') or {}
    wanted, given = backbone.get('in_channels', 3), images.shape[1]
    if not isinstance(wanted, int) or wanted == given:
        return None
    text = f'{place}.backbone reads images of {wanted} channels, and the pipeline makes them with {given}'
    kind = {1: "color_type='grayscale'", 3: "color_type='color'"}.get(wanted, "color_type='unchanged'")
    values = f'a mean and std of {wanted}' if wanted in (1, 3) else 'no mean and std'
    remedy = f'{kind} in each LoadImageFromFile, and {values} in the data_preprocessor'
    return Finding('channels', FAULT, text, (f'{place}.backbone.in_channels={given}', remedy))


def _first_map(path: str, part: Node, given: int, source: str) -> Finding:
    text = f'{path} expects {part["c1_in_channels"]} in the first map, and {source} gives {given}'
    return Finding('channels', FAULT, text, (f'{path}.c1_in_channels={given}',))


def roi_remedies(node: Node, channels: list[int], place: str = 'model') -> tuple[str, ...]:
    """The lines of a two-stage detector's second stage that do not fit the heads' maps."""
    roi_head, found = node.get('roi_head') or {}, []
    if roi_head.get('shared_head') or not channels:
        return ()
    for name, key in (
        ('roi_extractor', 'out_channels'),
        ('bbox_head', 'in_channels'),
        ('mask_head', 'in_channels'),
    ):
        for part in [part for part in roi_head if part.endswith(name)]:
            for path, inner in _listed(f'{place}.roi_head.{part}', roi_head[part]):
                if inner.get(key, channels[-1]) != channels[-1]:
                    found.append(f'{path}.{key}={channels[-1]}')
    return tuple(dict.fromkeys([*found, ' '.join(found)])) if found else ()


def _listed(path: str, parts: Any) -> Iterator[tuple[str, Node]]:
    """The configs of a part, which may be a list, with their dotted paths."""
    if isinstance(parts, list | tuple):
        yield from ((f'{path}.{index}', part) for index, part in enumerate(parts))
    elif parts:
        yield path, parts


def _necks(node: Node, model: Any, place: str) -> Iterator[tuple[str, Node, Any]]:
    parts = node.get('neck')
    for index, (path, part) in enumerate(_listed(f'{place}.neck', parts)):
        yield path, part, model.neck[index] if isinstance(parts, list | tuple) else model.neck


def _heads(node: Node, place: str) -> Iterator[tuple[str, Node]]:
    """The heads that say how many channels they read."""
    for name in HEADS:
        for path, part in _listed(f'{place}.{name}', node.get(name)):
            if 'in_channels' in part:
                yield path, part


def _compare(path: str, node: Node, given: list[int], source: str) -> Finding:
    """What a reader expects, and what it gets of the maps that it picks."""
    wanted, picked = node['in_channels'], node.get('in_index')
    several = isinstance(wanted, list | tuple)
    indices = list(range(len(given))) if picked is None else picked
    indices = list(indices) if isinstance(indices, list | tuple) else [indices]
    if any(index not in range(-len(given), len(given)) for index in indices):
        good: Any = list(range(len(given))) if several else len(given) - 1
        text = f'{path} reads maps {indices}, and {source} gives {len(given)}'
        return Finding('channels', FAULT, text, (f'{path}.in_index={good!r}'.replace(' ', ''),))
    read = [given[index] for index in indices]
    if list(wanted) == read if several else wanted == read[-1]:
        return Finding('channels', OK, f'{path} reads {wanted} of {source}')
    goods: list[Any] = [type(wanted)(read), read, tuple(read)] if several else [read[-1]]
    return Finding(
        'channels',
        FAULT,
        f'{path} expects {wanted}, and {source} gives {given}',
        tuple(dict.fromkeys(f'{path}.in_channels={good!r}'.replace(' ', '') for good in goods)),
    )


def _run(part: Any, maps: Any) -> tuple[Tensor, ...] | None:
    """What a part makes of maps; None if it does not run by itself, or gives something else."""
    try:
        maps = part(maps)
    except Exception:  # which the step tells, if the part does not run there
        return None
    maps = (maps,) if torch.is_tensor(maps) else maps
    fine = isinstance(maps, list | tuple) and maps and all(torch.is_tensor(m) and m.ndim > 1 for m in maps)
    return tuple(maps) if fine else None


def _channels(maps: tuple[Tensor, ...]) -> list[int]:
    return [m.shape[1] for m in maps]
