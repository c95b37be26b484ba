"""A config whose training images have another size than it says."""

import copy
from typing import Any

from mmengine.config import Config

from inimg_mm.config_tree import Node, nodes, type_name
from inimg_mm.errors import UsageError
from inimg_mm.host_facts import HOSTS

from .host import Size

OF_A_MODEL = ('input_size', 'heatmap_size', 'in_featuremap_size')
"""Widths and heights that keypoint models and their codecs are told, all in proportion to the first."""


def at_size(cfg: Config, size: Size | None) -> Config:
    """A config whose pipeline makes images of a size, and whose model expects them so.

    Args:
        cfg: The config; not changed.
        size: Width and height; None changes nothing.

    Raises:
        UsageError: If the size has no pixels, or the model's joints have three dimensions.
    """
    if size is None:
        return cfg
    if min(size) < 1:
        raise UsageError(f'images have a width and a height of at least 1 pixel, got {size}')
    cfg = copy.deepcopy(cfg)
    loaders = [cfg[key] for key in cfg if key.endswith('_dataloader') and cfg[key]]
    _set_input(list(nodes([cfg.model, cfg.get('codec'), loaders])), size)
    for node in nodes(loaders):
        _set_transform(node, size, HOSTS[cfg.default_scope].heights_first)
    for node in nodes([cfg.model.get('data_preprocessor'), cfg.get('data_preprocessor')]):
        if _is_pair(node.get('size')):
            node['size'] = (size[1], size[0])
    return cfg


def _set_input(settings: list[Node], size: Size) -> None:
    own = next((node['input_size'] for node in settings if _is_pair(node.get('input_size'))), None)
    if own is None:
        return
    if any(len(node['heatmap_size']) == 3 for node in settings if 'heatmap_size' in node):
        raise UsageError('--size is for images in two dimensions: the maps of this model keep their size')
    for node in settings:
        for key in OF_A_MODEL:
            if _is_pair(node.get(key)):
                old = node[key]
                node[key] = tuple(max(old[side] * size[side] // own[side], 1) for side in (0, 1))


def _set_transform(node: Node, size: Size, heights_first: bool) -> None:
    """Set the size of a transform's images: its keys tell what it is."""
    kind, (width, height) = type_name(node), size
    if kind == 'ResizeEdge':
        node['scale'] = max(size)
    elif 'scale' in node:
        several = isinstance(node['scale'], list) and _is_pair(node['scale'][0])  # from one to another
        one = (height, width) if heights_first and 'Crop' in kind else size
        node['scale'] = [one, one] if several else one
    for key, value in dict(scales=[size], img_scale=size, crop_size=(height, width)).items():
        if key in node:
            node[key] = value
    if _is_pair(node.get('size')):
        node['size'] = size if kind == 'Pad' else (height, width)
    if 'border' in node:  # what a mosaic has around its middle
        node['border'] = (-width // 2, -height // 2)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2
