"""Point a config at one's own data."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inimg_mm.config_tree import Node, datasets_of, nodes

from . import own_labels, own_pipelines

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
    reads ``train/<class>/`` and ``val/<class>/``; semantic segmentation reads ``images/train/``
    and ``images/val/``, and for ``x.jpg`` there ``labels/train/x.png`` with a class index a pixel,
    255 where none counts. The heads' numbers of classes, or of keypoints, follow. In a config file
    it is the third line of a delta that any launcher trains::

        _base_ = 'faster-rcnn_cmpese-r18_fpn_digits.py'
        from inimg_mm.datasets import own_data
        own_data(_base_, 'data/bccd/', image_scale=(320, 240))

    Args:
        cfg: An mmdet, mmpretrain, mmpose or mmseg config (or the ``_base_`` of one).
        data_root: Folder of the data.
        classes: Names of the classes to train on, in the order of the annotation files, which is
            how the hosts number them. Default: all that the training annotations have.
            Classification has the folders of ``train/``; label maps name no classes, so that
            semantic segmentation needs them here.
        train_ann: Annotation file of the training set, relative to ``data_root`` (COCO format only,
            as the next three).
        val_ann: The same of the validation set, which is the test set too.
        train_images: Folder of the training images, relative to ``data_root``.
        val_images: The same of the validation images.
        image_scale: Width and height in pixels that images, or the crops of a keypoint model,
            are resized to; None keeps the config's. A segmenter's crops keep their size.
        flip: Probability of mirroring a training image; None keeps the config's.
        repeat: How many times an epoch walks through the training set.

    Raises:
        ValueError: If a file, folder or class is missing, an option has no meaning, or the config has
            nothing that it could change; the message names it.
    """
    _check_options(image_scale, flip, repeat)
    root = Path(data_root)
    if not root.is_dir():
        raise ValueError(f'data_root {data_root!r} is not a folder')
    host = cfg.get('default_scope')
    if host == 'mmpretrain':
        metainfo = _class_folders(cfg, root, classes)
    elif host == 'mmseg':
        metainfo = _label_maps(cfg, root, classes)
    else:
        annotations = dict(train=train_ann, val=val_ann)
        metainfo = _coco(cfg, root, classes, annotations, dict(train=train_images, val=val_images))
    keypoints = metainfo.get('keypoint_info')
    if keypoints:
        cfg['model']['head']['out_channels'] = len(keypoints)
    _set_classes(cfg, len(metainfo['classes']))
    if image_scale is not None and keypoints:
        own_pipelines.set_input_size([cfg['model'], *(cfg.get(key) for key in SPLITS)], image_scale)
    elif image_scale is not None:
        train = _transforms(cfg, 'train_dataloader')
        test = _transforms(cfg, 'val_dataloader', 'test_dataloader')
        own_pipelines.set_scale(train, test, image_scale, heights_first=host == 'mmpretrain')
    if flip is not None:
        own_pipelines.set_flip(_transforms(cfg, 'train_dataloader'), float(flip))
    if repeat != 1:
        loader = cfg['train_dataloader']
        loader['dataset'] = dict(type='RepeatDataset', times=repeat, dataset=loader['dataset'])


def _check_options(image_scale: Any, flip: Any, repeat: Any) -> None:
    """Raise a :class:`ValueError` if what is given is not of the kind that the hosts need."""
    whole = isinstance(image_scale, list | tuple) and all(
        isinstance(side, int) and side > 0 for side in image_scale
    )
    if image_scale is not None and not (whole and len(image_scale) == 2):
        raise ValueError(
            f'image_scale is a width and a height in pixels, as in 320,240, and not {image_scale!r}'
        )
    if flip is not None and not (isinstance(flip, int | float) and 0 <= flip <= 1):
        raise ValueError(f'flip is a probability from 0 to 1, and not {flip!r}')
    if not isinstance(repeat, int) or repeat < 1:
        raise ValueError(f'repeat is a number of times, 1 or more, and not {repeat!r}')


def _coco(
    cfg: Node, root: Path, classes: Sequence[str] | None, annotations: dict[str, str], images: dict[str, str]
) -> dict[str, Any]:
    """Read COCO annotation files; returns what the data sets are told of their classes."""
    for folder in images.values():
        if not (root / folder).is_dir():
            raise ValueError(f'{root} has no folder {folder!r} with the images')
    categories = {split: own_labels.coco_categories(root / name) for split, name in annotations.items()}
    metainfo: dict[str, Any] = dict(classes=own_labels.coco_classes(classes, categories, annotations))
    if cfg.get('default_scope') == 'mmpose':
        metainfo = own_labels.keypoint_metainfo(categories['train'][0], annotations['train'])
    for split, dataset in _datasets(cfg):
        _assign(
            dataset,
            data_root=str(root),
            metainfo=metainfo,
            ann_file=annotations[split],
            data_prefix=dict(img=images[split]),
        )
        dataset.pop('bbox_file', None)  # a person detector's boxes: here the annotated ones count
    for metric in _metrics(cfg):
        if 'ann_file' in metric:
            metric['ann_file'] = str(root / annotations['val'])
    return metainfo


def _class_folders(cfg: Node, root: Path, classes: Sequence[str] | None) -> dict[str, Any]:
    """Read a folder a class."""
    metainfo = dict(classes=own_labels.class_folders(classes, root))
    for split, dataset in _datasets(cfg):
        for key in ('split', 'ann_file'):  # of ImageNet
            dataset.pop(key, None)
        _assign(dataset, type='CustomDataset', data_root=str(root), data_prefix=split, metainfo=metainfo)
    for node in nodes([cfg['model'], *_metrics(cfg)]):
        if 'topk' in node:
            ranks = node['topk'] if isinstance(node['topk'], list | tuple) else (node['topk'],)
            node['topk'] = tuple(rank for rank in ranks if rank <= len(metainfo['classes'])) or (1,)
    return metainfo


def _label_maps(cfg: Node, root: Path, classes: Sequence[str] | None) -> dict[str, Any]:
    """Read a label map an image."""
    names, suffix = own_labels.label_maps(classes, root)
    metainfo = dict(classes=names)
    for key in SPLITS:
        if loader := cfg.get(key):
            split, pipeline = SPLITS[key], next(datasets_of(loader['dataset']))['pipeline']
            loader['dataset'] = dict(
                type='BaseSegDataset',
                data_root=str(root),
                data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}'),
                img_suffix=suffix,
                metainfo=metainfo,
                pipeline=pipeline,
            )
    return metainfo


def _assign(node: Node, **settings: Any) -> None:
    """Set items, dicts as a whole: a config's own ``update`` would merge them into what is there."""
    for key, value in settings.items():
        node[key] = value


def _set_classes(cfg: Node, count: int) -> None:
    for node in nodes([cfg['model'], cfg.get('data_preprocessor')]):
        if 'num_classes' in node:
            node['num_classes'] = count


def _datasets(cfg: Node) -> Iterator[tuple[str, Node]]:
    """The innermost data sets of a config, each with its split."""
    for key, split in SPLITS.items():
        if cfg.get(key):
            for dataset in datasets_of(cfg[key]['dataset']):
                yield split, dataset


def _transforms(cfg: Node, *loaders: str) -> Iterator[Node]:
    for key in loaders:
        if cfg.get(key):
            for dataset in datasets_of(cfg[key]['dataset']):
                yield from dataset['pipeline']


def _metrics(cfg: Node) -> list[Node]:
    found = [cfg.get(key) or [] for key in EVALUATORS]
    return [metric for part in found for metric in (part if isinstance(part, list | tuple) else [part])]
