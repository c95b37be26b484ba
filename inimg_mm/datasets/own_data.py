"""Point a config at one's own data."""

import json
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from inimg_mm.registry import type_name

Node = MutableMapping[str, Any]

SPLITS = {'train_dataloader': 'train', 'val_dataloader': 'val', 'test_dataloader': 'val'}
EVALUATORS = ('val_evaluator', 'test_evaluator')


def own_data(
    cfg: Node,
    data_root: str,
    classes: Sequence[str] | None = None,
    train_ann: str = 'train.json',
    val_ann: str = 'val.json',
    train_images: str = 'images/',
    val_images: str = 'images/',
    image_scale: tuple[int, int] | None = None,
    flip: float | None = None,
    repeat: int = 1,
) -> None:
    """Change a config in place so that it trains and evaluates on the data in ``data_root``.

    Detection, instance segmentation and keypoints read COCO annotation files; classification
    reads ``train/<class>/`` and ``val/<class>/``. The heads' numbers of classes, or of keypoints,
    follow. In a config file it is the third line of a delta that any launcher trains::

        _base_ = 'faster-rcnn_cmpese-r18_fpn_digits.py'
        from inimg_mm.datasets import own_data
        own_data(_base_, 'data/bccd/', image_scale=(320, 240))

    Args:
        cfg: An mmdet, mmpretrain or mmpose config (or the ``_base_`` of one).
        data_root: Folder of the data.
        classes: Names of the classes to train on, in the order of the annotation files, which is
            how the hosts number them. Default: all that the training annotations have.
            Classification has the folders of ``train/``.
        train_ann: Annotation file of the training set, relative to ``data_root``.
        val_ann: The same of the validation set, which is the test set too.
        train_images: Folder of the training images, relative to ``data_root``.
        val_images: The same of the validation images.
        image_scale: Width and height in pixels that images, or the crops of a keypoint model,
            are resized to; None keeps the config's.
        flip: Probability of mirroring a training image; None keeps the config's.
        repeat: How many times an epoch walks through the training set.

    Raises:
        ValueError: If a file, folder or class is missing, or the config has nothing that an
            option could change; the message names it.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise ValueError(f'data_root {data_root!r} is not a folder')
    annotations = dict(train=train_ann, val=val_ann)
    images = dict(train=train_images, val=val_images)
    datasets = {key: list(_datasets(cfg[key])) for key in SPLITS if cfg.get(key)}
    if 'ann_file' in datasets['train_dataloader'][0]:
        for folder in images.values():
            if not (root / folder).is_dir():
                raise ValueError(f'{root} has no folder {folder!r} with the images')
        categories = {split: _categories(root / name) for split, name in annotations.items()}
        names = _checked_classes(classes, categories, annotations)
        keypoints = categories['train'][0].get('keypoints') if cfg.get('default_scope') == 'mmpose' else None
        metainfo = _keypoint_metainfo(categories['train'][0]) if keypoints else dict(classes=names)
    else:
        names = _checked_folders(classes, root)
        keypoints, metainfo = None, dict(classes=names)

    for key, split in SPLITS.items():
        for dataset in datasets.get(key, []):
            dataset['data_root'] = str(root)
            dataset['metainfo'] = metainfo
            if 'ann_file' in dataset:
                dataset['ann_file'] = annotations[split]
                dataset['data_prefix'] = dict(img=images[split])
    for key in EVALUATORS:
        for metric in _as_list(cfg.get(key)):
            if 'ann_file' in metric:
                metric['ann_file'] = str(root / val_ann)
    for node in _nodes([cfg['model'], cfg.get('data_preprocessor')]):
        if 'num_classes' in node:
            node['num_classes'] = len(names)
    if keypoints:
        cfg['model']['head']['out_channels'] = len(keypoints)
    if image_scale is not None and keypoints:
        _set_input_size(cfg, image_scale)
    elif image_scale is not None:
        width, height = image_scale
        _set_in_pipelines(datasets, ['train_dataloader'], 'RandomResizedCrop', 'scale', (height, width))
        if not _set_in_pipelines(datasets, list(SPLITS), 'Resize', 'scale', (width, height)):
            raise ValueError(
                f'the pipelines have no Resize whose scale could be set to {tuple(image_scale)!r}'
            )
    if flip is not None:
        found = _set_in_pipelines(datasets, ['train_dataloader'], 'RandomFlip', 'prob', flip)
        if not found:
            raise ValueError(f'the training pipeline has no RandomFlip whose prob could be set to {flip!r}')
    if repeat != 1:
        loader = cfg['train_dataloader']
        loader['dataset'] = dict(type='RepeatDataset', times=repeat, dataset=loader['dataset'])


def _datasets(loader: Node) -> Iterator[Node]:
    """The innermost datasets of a loader, behind wrappers such as RepeatDataset."""
    dataset = loader['dataset']
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    yield from dataset.get('datasets', [dataset])


def _categories(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text())
        return [dict(category, name=category['name']) for category in content['categories']]
    except OSError as error:
        raise ValueError(f'cannot read the annotation file {path}: {error.strerror}') from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is not a COCO annotation file: {error!r}') from error


def _checked_classes(
    classes: Sequence[str] | None, categories: dict[str, list[dict[str, Any]]], files: dict[str, str]
) -> tuple[str, ...]:
    """The classes to train on; each is in both annotation files."""
    found = {split: [category['name'] for category in listed] for split, listed in categories.items()}
    names = tuple(classes) if classes else tuple(found['train'])
    for split, known in found.items():
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(f'{files[split]} has no class {missing[0]!r}; its classes are {sorted(known)}')
        in_file = tuple(name for name in known if name in names)
        if in_file != names:  # which is how the hosts number them, whatever they are told
            raise ValueError(
                f'{files[split]} has the classes in the order {list(in_file)}, not {list(names)}'
            )
    return names


def _checked_folders(classes: Sequence[str] | None, root: Path) -> tuple[str, ...]:
    """The class folders of ``train/`` in the order of their labels; ``val/`` has the same."""
    found = {}
    for split in ('train', 'val'):
        if not (root / split).is_dir():
            raise ValueError(f'{root} has no folder {split}/ with one folder of images per class')
        found[split] = sorted(folder.name for folder in (root / split).iterdir() if folder.is_dir())
    if not found['train'] or found['train'] != found['val']:
        raise ValueError(
            f'{root} has other class folders in train/, {found["train"]}, than in val/, {found["val"]}'
        )
    if classes and sorted(classes) != found['train']:
        raise ValueError(
            f'classification trains on all class folders, {found["train"]}; got classes {list(classes)}'
        )
    return tuple(found['train'])


def _keypoint_metainfo(category: dict[str, Any]) -> dict[str, Any]:
    """mmpose's description of a category's keypoints; 'left_x' and 'right_x' mirror each other."""
    names = category['keypoints']
    swaps = {name: name.replace('left', 'right') for name in names if 'left' in name}
    swaps |= {right: left for left, right in swaps.items()}
    points = {
        index: dict(name=name, id=index, color=[51, 153, 255], type='', swap=swaps.get(name, ''))
        for index, name in enumerate(names)
    }
    links = {
        index: dict(link=(names[start - 1], names[end - 1]), id=index, color=[0, 255, 0])
        for index, (start, end) in enumerate(category.get('skeleton', []))
    }
    sigmas = COCO_PERSON_SIGMAS if len(names) == len(COCO_PERSON_SIGMAS) else [0.05] * len(names)
    return dict(
        dataset_name=category['name'],
        classes=(category['name'],),
        keypoint_info=points,
        skeleton_info=links,
        joint_weights=[1.0] * len(names),
        sigmas=list(sigmas),
    )


COCO_PERSON_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
"""Spread of each COCO person keypoint, from COCO's evaluation code."""


def _set_in_pipelines(
    datasets: dict[str, list[Node]], loaders: list[str], kind: str, key: str, value: Any
) -> bool:
    """Set ``key`` in every transform of a type; returns whether there is one."""
    transforms = [
        transform
        for loader in loaders
        for dataset in datasets.get(loader, [])
        for transform in dataset['pipeline']
        if type_name(transform) == kind
    ]
    for transform in transforms:
        transform[key] = value
    return bool(transforms)


def _set_input_size(cfg: Node, size: tuple[int, int]) -> None:
    """Set the crop of a top-down keypoint config, and its heatmaps at a quarter of it."""
    for key in ('model', *SPLITS):
        for node in _nodes(cfg.get(key)):
            if 'input_size' in node:
                node['input_size'] = tuple(size)
            if 'heatmap_size' in node:
                node['heatmap_size'] = (size[0] // 4, size[1] // 4)


def _nodes(value: Any) -> Iterator[Node]:
    """Every mapping in a nested config."""
    if isinstance(value, MutableMapping):
        yield value
        for child in value.values():
            yield from _nodes(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _nodes(child)


def _as_list(value: Any) -> list[Node]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
