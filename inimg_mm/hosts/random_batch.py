"""A training batch that the config's own pipeline made, of made-up images or of its data."""

import copy
import importlib.util
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, FUNCTIONS, DefaultScope

from inimg_mm.config_tree import Node, datasets_of, defaults_of, nodes, type_name
from inimg_mm.errors import UsageError

from . import HOSTS
from .host import Size
from .made_up import Scene, image_channels, made_up
from .sizes import at_size

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
"""Whose pipeline makes the batch: the first that a config has."""
NEAR = 4
"""So many samples are looked at for one with an object."""
PANOPTIC = 'LoadPanopticAnnotations'
"""The transform of mmdet that needs panopticapi."""


class BuildError(Exception):
    """A pipeline that cannot be built; the cause is what the host raised."""


def random_batch(cfg: Config, size: Size | None = None, batch_size: int = 2, seed: int = 0) -> Any:
    """Make a batch as the config's training loader gives it, without its data.

    The transforms of the config's own pipeline, its wrappers of data sets and its way to collate run as they
    are, on images, boxes, masks, maps and keypoints that are made up.

    Args:
        cfg: Config of any host; its ``default_scope`` tells.
        size: Width and height of the images. Default: what the config's pipeline makes of them.
        batch_size: Number of samples, if the config's batches have so many; at least one of each data set.
        seed: Of everything random.

    Returns:
        What the model's data preprocessor takes.

    Raises:
        UsageError: If the host is unknown, the size has no pixels, or the config has no data loader.
        BuildError: If a transform or a wrapper cannot be built.
        Exception: Whatever a transform raises of images that it cannot use.
    """
    if cfg.default_scope not in HOSTS:
        raise UsageError(f'random batches are known for {", ".join(HOSTS)}, and not for {cfg.default_scope}')
    cfg = at_size(cfg, size)
    loader = next((cfg[name] for name in LOADERS if cfg.get(name)), None)
    if loader is None:
        raise UsageError('the config has no data loader, whose pipeline would make a batch')
    with tempfile.TemporaryDirectory() as folder, _drawn_from(seed, cfg.default_scope):
        dataset = copy.deepcopy(loader.dataset)
        scene = cache(partial(_scene, Path(folder), image_channels(cfg.model)))
        _read_panoptic_maps(dataset)
        inner = list(datasets_of(dataset))
        for node in {id(node): node for node in inner}.values():  # a config may name one several times
            _replace(node, cfg, scene)
        try:
            built = DATASETS.build(dataset)
        except Exception as error:
            raise BuildError(f'{type(error).__name__}: {error}') from error
        number = max(min(batch_size, loader.get('batch_size') or batch_size), len(inner))
        samples = [built[index * len(built) // number] for index in range(number)]
        if not any('inputs' in node for node in nodes(samples)):
            raise UsageError("the config's pipeline packs no inputs")
        return _collate(cfg, loader)(samples)


def real_batch(
    cfg: Config, batch_size: int = 2, seed: int = 0, prepare: Callable[[Any], None] = lambda built: None
) -> Any:
    """Make a batch of the config's own training data, if that is there; nothing is downloaded.

    Args:
        cfg: Config of any host.
        batch_size: As in :func:`random_batch`. Of each part of the data, the first of a few samples that
            shows an object is taken, if it is data with objects.
        seed: Of everything random.
        prepare: Is given the built data set first.

    Returns:
        What the model's data preprocessor takes; None if the data is not there.

    Raises:
        Exception: Whatever the data set or a transform raises of the data.
    """
    loader = cfg.get('train_dataloader')
    inner = list(datasets_of(loader.dataset)) if loader else []
    if cfg.default_scope not in HOSTS or not any(map(_is_there, inner)):
        return None
    with _drawn_from(seed, cfg.default_scope), redirect_stdout(io.StringIO()):  # pycocotools prints
        dataset = copy.deepcopy(loader.dataset)
        _read_panoptic_maps(dataset)
        with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
            for node in datasets_of(dataset):
                kind = registry.get(node['type']) if isinstance(node['type'], str) else node['type']
                if 'download' in defaults_of(kind):
                    node['download'] = False
        built = DATASETS.build(dataset)
        prepare(built)
        number = max(min(batch_size, loader.get('batch_size') or batch_size), len(inner))
        starts = [index * len(built) // number for index in range(number)]
        return _collate(cfg, loader)([_first_with_objects(built, start) for start in starts])


def _is_there(node: Node) -> bool:
    """Whether what a data set's config names as its file and its folders exists."""
    root, prefix = node.get('data_root') or '', node.get('data_prefix') or ''
    folders = list(prefix.values()) if isinstance(prefix, Mapping) else [prefix]
    names = [name for name in (node.get('ann_file'), *folders) if name] or ['']
    return all(isinstance(name, str) and os.path.exists(os.path.join(root, name)) for name in names)


def _first_with_objects(dataset: Any, start: int) -> Any:
    """A sample: the first from a place on that shows an object, if the data has objects and one is near."""
    samples = []
    for index in range(start, min(start + NEAR, len(dataset))):
        samples.append(dataset[index])
        objects = getattr(samples[-1].get('data_samples'), 'gt_instances', None)
        if objects is None or len(objects):
            return samples[-1]
    return samples[0] if samples else dataset[start]


@contextmanager
def _drawn_from(seed: int, scope: str) -> Iterator[None]:
    """A host's scope, and random numbers that begin with a seed; afterwards both are as they were."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        with DefaultScope.overwrite_default_scope(scope):
            yield
    finally:
        np.random.set_state(state)


def _read_panoptic_maps(dataset: Node) -> None:
    """Have mmdet's loading of panoptic maps do without panopticapi, of which it wants one line."""
    if importlib.util.find_spec('panopticapi') is not None:
        return
    for transform in nodes(dataset):
        if type_name(transform) == PANOPTIC:
            from .mmdet import panoptic_loading

            transform['type'] = panoptic_loading()


def _scene(folder: Path, channels: int, seed: int, classes: int) -> Scene:
    return Scene(folder, classes, channels, seed)


def _replace(node: Node, cfg: Config, scene: Any) -> None:
    """Put made-up items into a data set's config, in place."""
    stuff = max((part.get('num_stuff_classes') or 0 for part in nodes(cfg.model)), default=0)
    pretended = made_up(dict(node), cfg.default_scope, scene, num_classes(cfg), stuff)
    node.clear()
    node['type'] = pretended['type']


def num_classes(cfg: Config) -> int:
    """The least that a head of the model has: every class below it is known to all."""
    keys = ('num_classes', 'num_things_classes')
    found = [node[key] for node in nodes(cfg.model) for key in keys if isinstance(node.get(key), int)]
    return min((count for count in found if count > 0), default=2)


def _collate(cfg: Config, loader: Node) -> Any:
    host = HOSTS[cfg.default_scope].loader(dict(loader))
    settings = copy.deepcopy(loader.get('collate_fn') or host.get('collate_fn'))
    if settings is None:
        return pseudo_collate
    function = FUNCTIONS.get(settings.pop('type')) if isinstance(settings, dict) else settings
    return partial(function, **settings) if isinstance(settings, dict) else function
