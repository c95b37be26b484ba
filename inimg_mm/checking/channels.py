"""Whether the parts of a model read the channels that they get."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from inimg_mm.models.backbones import Backbone

from .findings import Finding, Stop, failure

HEADS = ('head', 'decode_head', 'auxiliary_head', 'rpn_head', 'bbox_head', 'mask_head', 'panoptic_head')
"""Parts of the hosts' models that read the feature maps of the backbone, or of the necks behind it."""
Node = dict[str, Any]


def check_channels(cfg: Config, model: Any, batch: dict[str, list]) -> tuple[list[Finding], list[int]]:
    """Compare what every reader of feature maps expects with what it gets.

    Returns:
        What was found, up to the first fault, and the channels that the heads get.

    Raises:
        Stop: If the backbone, or a neck that expects what it gets, does not run.
    """
    images = torch.stack(batch['inputs']).float() / 255
    findings = []
    model.eval()
    with torch.no_grad():
        maps = _run(model.backbone, images)
        given, source = _channels(maps), 'the backbone'
        declared = getattr(model.backbone, 'out_channels', None)
        if isinstance(model.backbone, Backbone) and list(declared or ()) != given:
            findings.append(Finding('channels', True, f'the backbone declares {declared} and gives {given}'))
        for path, node, neck in _necks(cfg, model):
            finding = _compare(path, node, given, source) if 'in_channels' in node else None
            try:
                maps = _run(neck, maps)
            except Stop:
                if finding is None or not finding.fault:
                    raise
                return [*findings, finding], given
            if finding is not None and not finding.fault:  # a neck that runs all the same has its own order
                findings.append(finding)
            given, source = _channels(maps), 'the neck'
        for path, node in _heads(cfg):
            findings.append(_compare(path, node, given, source))
            if findings[-1].fault:
                break
    return findings, given


def roi_remedy(cfg: Config, channels: list[int]) -> str:
    """The line of a two-stage detector's second stage that does not fit the heads' maps; '' if none is."""
    roi_head = cfg.model.get('roi_head') or {}
    if roi_head.get('shared_head'):
        return ''
    for name, key in (
        ('roi_extractor', 'out_channels'),
        ('bbox_head', 'in_channels'),
        ('mask_head', 'in_channels'),
    ):
        for part in [part for part in roi_head if part.endswith(name)]:
            for path, node in _listed(f'model.roi_head.{part}', roi_head[part]):
                if node.get(key, channels[-1]) != channels[-1]:
                    return f'{path}.{key}={channels[-1]}'
    return ''


def _listed(path: str, parts: Any) -> Iterator[tuple[str, Node]]:
    """The configs of a part, which may be a list, with their dotted paths."""
    if isinstance(parts, list | tuple):
        yield from ((f'{path}.{index}', part) for index, part in enumerate(parts))
    elif parts:
        yield path, parts


def _necks(cfg: Config, model: Any) -> Iterator[tuple[str, Node, Any]]:
    parts = cfg.model.get('neck')
    for index, (path, node) in enumerate(_listed('model.neck', parts)):
        yield path, node, model.neck[index] if isinstance(parts, list | tuple) else model.neck


def _heads(cfg: Config) -> Iterator[tuple[str, Node]]:
    """The heads that say how many channels they read."""
    for name in HEADS:
        for path, node in _listed(f'model.{name}', cfg.model.get(name)):
            if 'in_channels' in node:
                yield path, node


def _compare(path: str, node: Node, given: list[int], source: str) -> Finding:
    """What a reader expects, and what it gets of the maps that it picks."""
    wanted, picked = node['in_channels'], node.get('in_index')
    several = isinstance(wanted, list | tuple)
    indices = list(range(len(given))) if picked is None else picked
    indices = list(indices) if isinstance(indices, list | tuple) else [indices]
    if any(index not in range(-len(given), len(given)) for index in indices):
        good: Any = list(range(len(given))) if several else len(given) - 1
        text = f'{path} reads maps {indices}, and {source} gives {len(given)}'
        return Finding('channels', True, text, f'{path}.in_index={good!r}'.replace(' ', ''))
    read = [given[index] for index in indices]
    if list(wanted) == read if several else wanted == read[-1]:
        return Finding('channels', False, f'{path} reads {wanted} of {source}')
    good = read if several else read[-1]
    return Finding(
        'channels',
        True,
        f'{path} expects {wanted}, and {source} gives {given}',
        f'{path}.in_channels={good!r}'.replace(' ', ''),
    )


def _run(part: Any, maps: Any) -> tuple[Tensor, ...]:
    try:
        maps = part(maps)
    except Exception as error:
        raise Stop(failure(error)) from error
    return (maps,) if torch.is_tensor(maps) else tuple(maps)


def _channels(maps: tuple[Tensor, ...]) -> list[int]:
    return [m.shape[1] for m in maps]
