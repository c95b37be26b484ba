"""Point a config at one's own data."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from PIL import Image

from inimg_mm.config_tree import Node, datasets_of, nodes
from inimg_mm.data_files.image_files import SUFFIXES
from inimg_mm.errors import UsageError
from inimg_mm.host_facts import HOSTS, joint_lines, joints_of_line, predicts

from . import own_annotations, own_classes, own_keypoints, own_pipelines
from .own_annotations import EVALUATORS, SPLITS

Size = tuple[int, int]

DEFAULTS = {
    'classes': dict(train_images='train', val_images='val'),
    'label maps': dict(
        train_images='images/train',
        val_images='images/val',
        train_labels='labels/train',
        val_labels='labels/val',
    ),
    'coco': dict(train_ann='train.json', val_ann='val.json', train_images='images/', val_images='images/'),
}
"""Where the data is in its folder, by what is to be predicted; 'coco' for the others."""
KEYPOINTS = ('sigmas', 'flip_pairs', 'skeleton', 'metrics')
MUCH = 0.5
"""Share of a crop that may be padding."""


def own_data(
    cfg: Node,
    data_root: str,
    classes: Sequence[str] | str | None = None,
    train_ann: str | None = None,
    val_ann: str | None = None,
    train_images: str | None = None,
    val_images: str | None = None,
    image_scale: Size | None = None,
    flip: float | None = None,
    repeat: int = 1,
    train_labels: str | None = None,
    val_labels: str | None = None,
    crop_size: Size | None = None,
    sigmas: Sequence[float] | float | None = None,
    flip_pairs: Sequence[Sequence[str]] | None = None,
    skeleton: Sequence[Sequence[Any]] | None = None,
    metrics: Sequence[str] | str | None = None,
) -> None:
    """Change a config in place so that it trains and evaluates on the data in ``data_root``.

    Detection, instance segmentation and keypoints read COCO annotation files; classification
    reads ``train/<class>/`` and ``val/<class>/``; semantic segmentation reads ``images/train/``
    and ``images/val/``, and for ``x.jpg`` there ``labels/train/x.png`` with a class index a pixel,
    255 where none counts. Hidden files and folders are left out. The heads' numbers of classes, or of
    keypoints, follow; a data set and an evaluator of another format, as VOC's, give way to COCO's. In a
    config file it is the third line of a delta that any launcher trains::

        _base_ = 'faster-rcnn_cmpese-r18_fpn_digits.py'
        from inimg_mm.datasets import own_data
        own_data(_base_, 'data/bccd/', image_scale=(320, 240))

    Args:
        cfg: An mmdet, mmpretrain, mmpose or mmseg config (or the ``_base_`` of one).
        data_root: Folder of the data.
        classes: Names of the classes to train on, in the order of the annotation files, which is
            how the hosts number them. Default: all that the training annotations have, but for a placeholder
            without objects that the others are below; for keypoints, the category that has them.
            Classification has the folders of ``train/``; label maps name no classes, so that
            semantic segmentation needs them here.
        train_ann: Annotation file of the training set, relative to ``data_root`` (COCO format only). Default:
            ``train.json``.
        val_ann: The same of the validation set, which is the test set too. Default: ``val.json``.
        train_images: Folder of the training images, relative to ``data_root``. Default: ``images/``; of class
            folders ``train``; beside label maps ``images/train``.
        val_images: The same of the validation images. Default: ``images/``, ``val``, ``images/val``.
        image_scale: Width and height in pixels that images, or the crops of a keypoint model,
            are resized to; None keeps the config's.
        flip: Probability of mirroring a training image; None keeps the config's.
        repeat: How many times an epoch walks through the training set.
        train_labels: Folder of the training label maps, relative to ``data_root``. Default: ``labels/train``.
        val_labels: The same of the validation set. Default: ``labels/val``.
        crop_size: Width and height in pixels of a segmenter's training crops. Default: the config's, and no
            larger than ``image_scale``.
        sigmas: How far each keypoint may be off, for AP, as a share of its object's size: a number a
            keypoint, or one for all. Default: those that the annotation file has (``sigmas`` in the
            category), COCO's where the names are those of COCO's persons, else 0.05.
        flip_pairs: Keypoints that mirror each other, a pair of names each. Default: the annotation file's
            (``flip_pairs`` in the category), else by the words for left and right in the names.
        skeleton: Links between keypoints that are drawn, by names or by numbers from 1. Default: the file's.
        metrics: Of keypoints: ``'ap'``, ``'pck'`` (within a fifth of the box's longer side), or both.
            Default: AP.

    Raises:
        UsageError: If a folder or class is missing, an option has no meaning, or the config has
            nothing that it could change; the message names it.
        AnnotationError: If an annotation file is missing, cannot be read, or is none.
    """
    options = {name: value for name, value in locals().items() if name not in ('cfg', 'data_root', 'classes')}
    host = cfg.get('default_scope')
    _check_options(options, host)
    root = Path(data_root)
    if not root.is_dir():
        raise UsageError(f'data_root {data_root!r} is not a folder')
    names = own_classes.names_of_classes(classes)
    defaults = DEFAULTS.get(predicts(host), DEFAULTS['coco'])
    files = {name: options[name] or default for name, default in defaults.items()}
    read = {'classes': _class_folders, 'label maps': _label_maps, 'keypoints': _keypoints}
    metainfo, said = read.get(predicts(host), _coco)(cfg, root, names, files, options)
    _set_classes(cfg, len(metainfo['classes']))
    keypoints = metainfo.get('keypoint_info')
    if image_scale is not None and keypoints:
        own_pipelines.set_input_size([cfg['model'], *(cfg.get(key) for key in SPLITS)], image_scale)
    elif image_scale is not None:
        train = _transforms(cfg, 'train_dataloader')
        test = _transforms(cfg, 'val_dataloader', 'test_dataloader')
        own_pipelines.set_scale(
            train, test, image_scale, heights_first=host in HOSTS and HOSTS[host].heights_first
        )
    if predicts(host) == 'label maps':
        said += _set_crop(cfg, root / files['train_images'], crop_size, image_scale)
    if flip is not None:
        own_pipelines.set_flip(_transforms(cfg, 'train_dataloader'), float(flip))
    if (
        keypoints
        and not own_keypoints.mirrors(metainfo)
        and own_pipelines.flips(_transforms(cfg, 'train_dataloader'))
    ):
        said.append(
            'images are mirrored in training, and no keypoint has another side: give flip_pairs, or flip=0'
        )
    if repeat != 1:
        loader = cfg['train_dataloader']
        loader['dataset'] = dict(type='RepeatDataset', times=repeat, dataset=loader['dataset'])
    for sentence in said:
        print_log(f'own data in {data_root}: {sentence}', 'current')


def _check_options(options: Mapping[str, Any], host: str | None) -> None:
    """Raise a :class:`UsageError` if an option is not of the kind that is needed, or has no meaning here."""
    for name in ('image_scale', 'crop_size'):
        size = options[name]
        whole = isinstance(size, list | tuple) and all(isinstance(side, int) and side > 0 for side in size)
        if size is not None and not (whole and len(size) == 2):
            raise UsageError(f'{name} is a width and a height in pixels, as in 320,240, and not {size!r}')
    flip, repeat = options['flip'], options['repeat']
    if flip is not None and not (isinstance(flip, int | float) and 0 <= flip <= 1):
        raise UsageError(f'flip is a probability from 0 to 1, and not {flip!r}')
    if not isinstance(repeat, int) or repeat < 1:
        raise UsageError(f'repeat is a number of times, 1 or more, and not {repeat!r}')
    for name in ('train_ann', 'val_ann', 'train_images', 'val_images', 'train_labels', 'val_labels'):
        if options[name] is not None and not isinstance(options[name], str):
            raise UsageError(f'{name} is a path below data_root, and not {options[name]!r}')
        if options[name] is not None and name not in DEFAULTS.get(predicts(host), DEFAULTS['coco']):
            raise UsageError(f'{name} has no meaning for {host}, whose data has no such file or folder')
    for name, what in (*((name, 'keypoints') for name in KEYPOINTS), ('crop_size', 'label maps')):
        if options[name] is not None and predicts(host) != what:
            raise UsageError(f'{name} is for models that predict {what}, and the config is of {host}')


Read = tuple[dict[str, Any], list[str]]
"""What the data sets are told of their classes, and what is said of the data, a sentence each."""


def _coco(cfg: Node, root: Path, classes: Any, files: Mapping[str, str], options: Mapping[str, Any]) -> Read:
    """Read COCO annotation files."""
    annotations, images = _splits(files, 'ann'), _splits(files, 'images')
    own_annotations.check_folders(root, images)
    found = own_annotations.read_files(cfg, root, annotations)
    names, said = own_classes.coco_classes(classes, found, annotations)
    metainfo = dict(classes=names)
    said += own_annotations.point_data_sets(cfg, root, metainfo, annotations, images)
    return metainfo, said + own_annotations.set_metrics(cfg, root / annotations['val'], None)


def _keypoints(
    cfg: Node, root: Path, classes: Any, files: Mapping[str, str], options: Mapping[str, Any]
) -> Read:
    """Read COCO annotation files with keypoints."""
    annotations, images = _splits(files, 'ann'), _splits(files, 'images')
    own_annotations.check_folders(root, images)
    found = own_annotations.read_files(cfg, root, annotations)
    category, names = own_classes.keypoint_category(classes, found, annotations)
    told = [options[name] for name in ('sigmas', 'flip_pairs', 'skeleton')]
    metainfo, said = own_keypoints.keypoint_metainfo(category, annotations['train'], *told)
    metainfo['classes'] = names
    said += own_annotations.point_data_sets(cfg, root, metainfo, annotations, images)
    metrics = own_annotations.checked_metrics(options['metrics'])
    said += own_annotations.set_metrics(cfg, root / annotations['val'], metrics)
    for path, head, name in joint_lines(cfg['model']):
        head[name] = joints_of_line(cfg, f'{path}.{name}', len(metainfo['keypoint_info']))
    return metainfo, said


def _class_folders(
    cfg: Node, root: Path, classes: Any, files: Mapping[str, str], options: Mapping[str, Any]
) -> Read:
    """Read a folder a class."""
    folders = _splits(files, 'images')
    names, said = own_classes.class_folders(classes, root, folders)
    metainfo = dict(classes=names)
    for key, split in SPLITS.items():
        for dataset in datasets_of(cfg[key]['dataset']) if cfg.get(key) else ():
            for name in ('split', 'ann_file'):  # of ImageNet
                dataset.pop(name, None)
            settings = dict(type='inimg_mm.ClassFolders', data_root=str(root), data_prefix=folders[split])
            for name, value in dict(settings, metainfo=dict(metainfo), extensions=SUFFIXES).items():
                dataset[name] = value  # dicts as a whole: a config's own update would merge them
            if own_pipelines.load_from_files(dataset['pipeline']):
                for preprocessor in filter(None, _preprocessors(cfg)):
                    preprocessor['to_rgb'] = True
    for node in nodes([cfg['model'], *_metrics(cfg)]):
        if 'topk' in node:
            ranks = node['topk'] if isinstance(node['topk'], list | tuple) else (node['topk'],)
            node['topk'] = tuple(rank for rank in ranks if rank <= len(names)) or (1,)
    return metainfo, said


def _label_maps(
    cfg: Node, root: Path, classes: Any, files: Mapping[str, str], options: Mapping[str, Any]
) -> Read:
    """Read a label map an image."""
    images, labels = _splits(files, 'images'), _splits(files, 'labels')
    said = own_classes.label_maps(classes, root, images, labels)
    metainfo = dict(classes=classes)
    for key, split in SPLITS.items():
        if loader := cfg.get(key):
            loader['dataset'] = dict(
                type='inimg_mm.LabelMaps',
                data_root=str(root),
                data_prefix=dict(img_path=images[split], seg_map_path=labels[split]),
                metainfo=dict(metainfo),
                pipeline=next(datasets_of(loader['dataset']))['pipeline'],
            )
    return metainfo, said


def _set_crop(cfg: Node, images: Path, size: Size | None, scale: Size | None) -> list[str]:
    """Set a segmenter's crops, and say so where much of them would be padding."""
    train = list(_transforms(cfg, 'train_dataloader'))
    crop = own_pipelines.set_crop(train, _preprocessors(cfg), size, scale)
    if crop and cfg.get('crop_size'):
        cfg['crop_size'] = crop[::-1]
    first = next((images / name for name in _images_of(images)), None)
    if crop is None or first is None:
        return []
    try:
        with Image.open(first) as picture:
            share = own_pipelines.padding_share(train, picture.size)
    except (OSError, Image.DecompressionBombError):
        return []  # the run says what is wrong with it
    if share <= MUCH:
        return []
    return [
        f'{share:.0%} of a training crop of {crop[0]}x{crop[1]} is padding: give image_scale or crop_size'
    ]


def _images_of(folder: Path) -> Iterator[str]:
    from inimg_mm.data_files.class_folders import files_below, is_image

    return (name for name in files_below(folder) if is_image(name))


def _splits(files: Mapping[str, str], what: str) -> dict[str, str]:
    return {split: files[f'{split}_{what}'] for split in ('train', 'val')}


def _set_classes(cfg: Node, count: int) -> None:
    for node in nodes([cfg['model'], cfg.get('data_preprocessor')]):
        if 'num_classes' in node:
            node['num_classes'] = count


def _transforms(cfg: Node, *loaders: str) -> Iterator[Node]:
    for key in loaders:
        if cfg.get(key):
            for dataset in datasets_of(cfg[key]['dataset']):
                yield from dataset['pipeline']


def _preprocessors(cfg: Node) -> list[Any]:
    """The settings of the model's data preprocessor, wherever they stand."""
    return [cfg.get('data_preprocessor'), cfg['model'].get('data_preprocessor')]


def _metrics(cfg: Node) -> list[Node]:
    found = [cfg.get(key) or [] for key in EVALUATORS]
    return [metric for part in found for metric in (part if isinstance(part, list | tuple) else [part])]
