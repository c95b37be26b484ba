"""What is in the data of a config: objects by class, used and left out, and what a training would stop at."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from PIL import Image as Picture

from inimg_mm.config_tree import Node, datasets_of, type_name
from inimg_mm.errors import UsageError

from .annotation_files import COCO, Found, check_found, look_through
from .checks import check_one_skeleton, folder_of_images, meant_classes, reading_of
from .class_folders import read_class_folders, told
from .class_lists import FOLDERS, folder_of
from .image_files import why_another_size, why_broken
from .image_names import look_up
from .label_maps import read_map_folders, why_no_label_map

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
ORIENTATION = 0x0112


class ClassRow(NamedTuple):
    """A class: how many objects (images, pixels) are used and left out, and in how many images it is."""

    name: str
    used: int
    left_out: int
    images: int


class Summary(NamedTuple):
    """What is in the data of a loader.

    Attributes:
        loader: Its name.
        source: The file or folder.
        counted: What is counted of each class: 'objects', 'images' or 'pixels'.
        rows: The classes.
        notes: What is said of it.
        faults: What a training would stop at, or train on wrongly.
    """

    loader: str
    source: str
    counted: str
    rows: list[ClassRow]
    notes: list[str]
    faults: list[str]


def summarise(cfg: Config, images: bool = False) -> list[Summary]:
    """Look at the data of a config as a training does; data that is not there is left out.

    Args:
        cfg: The config; not changed.
        images: Read every image, and every label map.

    Returns:
        One for each data set of COCO's format, folders of classes, or label maps; a validation set that is
        the test set too comes once.
    """
    found: dict[str, Summary] = {}
    for loader in LOADERS:
        for dataset in datasets_of((cfg.get(loader) or {}).get('dataset')):
            kind, path = type_name(dataset), _annotations(dataset)
            one = None
            if kind == COCO and path.is_file():
                one = _coco(cfg, loader, dataset, path, images)
            elif kind in FOLDERS and not dataset.get('ann_file') and os.path.isdir(folder_of(dataset)):
                one = _classes(loader, dataset, images)
            elif kind in ('BaseSegDataset', 'LabelMaps') and not dataset.get('ann_file'):
                one = _maps(loader, dataset, images)
            if one is not None:
                found.setdefault(one.source, one)
    return list(found.values())


def _annotations(dataset: Node) -> Path:
    return Path(dataset.get('data_root') or '', dataset.get('ann_file') or '')


def _coco(cfg: Config, loader: str, dataset: Node, path: Path, images: bool) -> Summary:
    reading = reading_of(cfg, loader)
    notes: list[str] = []
    faults: list[str] = []
    try:
        found = look_through(path, reading)
        classes = meant_classes(dataset, reading.host)
    except UsageError as error:
        return Summary(loader, str(path), 'objects', [], [], [str(error)])
    for check in (
        lambda: check_found(found, reading, classes, say=notes.append),
        lambda: check_one_skeleton(found, classes) if reading.keypoints else None,
    ):
        try:
            check()
        except UsageError as error:
            faults.append(str(error))
    used = set().union(*(found.tally.images.get(key, set()) for key in found.ids(classes)))
    notes.insert(
        0,
        f'{len(found.images)} images, {len(found.images) - len(used)} of them without objects; '
        + _sizes(found),
    )
    known = {category['name'] for category in found.categories}
    if missing := [name for name in classes if name not in known]:
        faults.append(
            f'{path} has no category {missing[0]!r}'
            + (f' (and {len(missing) - 1} more)' if missing[1:] else '')
        )
    folder = folder_of_images(dataset)
    if folder is None:
        notes.append('the images are not looked for: their folder is not there')
    else:
        names = look_up((name for name, _, _ in found.images.values()), folder)
        if names.missing:
            first, hint = next(iter(names.missing.items()))
            faults.append(
                f'{len(names.missing)} images are not in {folder}, such as {first!r}'
                + (f': {hint}' if hint else '')
            )
        if images:
            sizes = (
                (os.path.join(folder, names.meant.get(name, name)), dict(width=width, height=height))
                for name, width, height in found.images.values()
                if name not in names.missing
            )
            faults += _unreadable(sizes)
    return Summary(loader, str(path), 'objects', list(_object_rows(found, classes)), notes, faults)


def _object_rows(found: Found, classes: tuple[str, ...]) -> Iterator[ClassRow]:
    counts = found.annotated()
    for key in found.ids(classes):
        name = next(one['name'] for one in found.categories if one['id'] == key)
        used = found.tally.kept([key])
        yield ClassRow(name, used, counts[name] - used, len(found.tally.images.get(key, ())))


def _sizes(found: Found) -> str:
    sizes = Counter((width, height) for _, width, height in found.images.values())
    if not sizes:
        return 'no sizes'
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    (width, height), (most_width, most_height) = ordered[0], ordered[-1]
    if len(sizes) == 1:
        return f'all {width}x{height}'
    return f'{len(sizes)} sizes, {width}x{height} to {most_width}x{most_height}'


def _classes(loader: str, dataset: Node, images: bool) -> Summary:
    folder = folder_of(dataset)
    found = read_class_folders(folder)
    rows = [ClassRow(name, len(files), 0, len(files)) for name, files in found.images.items()]
    text = told(found)
    faults = [f'the class {row.name!r} has no image' for row in rows if not row.used]
    if images:
        faults += _unreadable(
            (os.path.join(folder, name), {}) for names in found.images.values() for name in names
        )
    return Summary(loader, folder, 'images', rows, [f'not used: {text}'] if text else [], faults)


def _maps(loader: str, dataset: Node, images: bool) -> Summary | None:
    prefix = dataset.get('data_prefix') or {}
    root = dataset.get('data_root') or ''
    folder, labels = (os.path.join(root, prefix.get(key) or '') for key in ('img_path', 'seg_map_path'))
    if not os.path.isdir(folder):
        return None
    try:
        found = read_map_folders(folder, labels)
    except UsageError as error:
        return Summary(loader, folder, 'pixels', [], [], [str(error)])
    names = (dataset.get('metainfo') or {}).get('classes') or ()
    notes = [f'{len(found.pairs)} images with label maps']
    if not images:
        return Summary(loader, folder, 'pixels', [], [*notes, 'pixels are counted with --images'], [])
    faults = _unreadable((os.path.join(folder, image), {}) for image, _ in found.pairs)
    pixels, where = Counter[int](), Counter[int]()
    for image, label in found.pairs:
        try:
            size = _read(os.path.join(folder, image), pixels=False)
            with Picture.open(os.path.join(labels, label)) as picture:
                values = np.asarray(picture)
        except OSError:
            continue
        if why := why_no_label_map(values.shape, size[::-1]):
            faults.append(f'{os.path.join(labels, label)}: {why}')
            continue
        found_values, counts = np.unique(values, return_counts=True)
        pixels.update(dict(zip(found_values.tolist(), counts.tolist(), strict=True)))
        where.update(found_values.tolist())
    ignored = dataset.get('ignore_index', 255)
    rows = [ClassRow(name, pixels[index], 0, where[index]) for index, name in enumerate(names)]
    if void := pixels[ignored]:
        notes.append(f'{void / sum(pixels.values()):.0%} of the pixels count for nothing ({ignored})')
    if names and (other := sorted(value for value in pixels if value >= len(names) and value != ignored)):
        faults.append(f'label maps have the value {other[0]}, and there are {len(names)} classes')
    return Summary(loader, folder, 'pixels', rows, notes, _first(faults))


def _unreadable(images: Iterable[tuple[str, Node]]) -> list[str]:
    """Images that cannot be read, or have another size than their annotations say: the first of each."""
    broken, other = [], []
    for path, info in images:
        try:
            size = _read(path)
        except Picture.DecompressionBombError:
            continue  # large, and perhaps whole
        except Exception as error:  # broken files raise anything
            broken.append(f'{path} cannot be read: {str(error) or type(error).__name__}')
            continue
        if why := why_another_size(info, size[::-1]):
            other.append(f'{path}: {why}')
    return [*_first(broken), *_first(other)]


def _read(path: str, pixels: bool = True) -> tuple[int, int]:
    """Width and height of an image as it is shown; its pixels are read, too."""
    if reason := why_broken(path):
        raise OSError(reason)
    with Picture.open(path) as picture:
        if pixels:
            picture.load()
        width, height = picture.size
        return (height, width) if picture.getexif().get(ORIENTATION) in TURNED else (width, height)


def _first(faults: list[str]) -> list[str]:
    return [faults[0] + (f' (and {len(faults) - 1} more)' if faults[1:] else '')] if faults else []
