"""What a folder of one's own data holds: its classes, checked, and what the hosts want to know of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDERS = ('train', 'val')
COCO_PERSON_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
"""Spread of each COCO person keypoint, from COCO's evaluation code."""


def coco_categories(path: Path) -> list[dict[str, Any]]:
    """The categories of a COCO annotation file.

    Raises:
        ValueError: If it cannot be read, is none, or has no categories.
    """
    try:
        content = json.loads(path.read_text())
        categories = [dict(category, name=category['name']) for category in content['categories']]
    except OSError as error:
        raise ValueError(f'cannot read the annotation file {path}: {error.strerror}') from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is not a COCO annotation file: {error!r}') from error
    if not categories:
        raise ValueError(f'{path} has no categories')
    return categories


def coco_classes(
    classes: Sequence[str] | None, categories: dict[str, list[dict[str, Any]]], files: dict[str, str]
) -> tuple[str, ...]:
    """The classes to train on; each is in both annotation files.

    Raises:
        ValueError: If one is missing, or they are in another order than in a file.
    """
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


def class_folders(classes: Sequence[str] | None, root: Path) -> tuple[str, ...]:
    """The class folders of ``train/`` in the order of their labels; ``val/`` has the same.

    Raises:
        ValueError: If it has not, there are none, or ``classes`` names others.
    """
    found = {}
    for split in FOLDERS:
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


def label_maps(classes: Sequence[str] | None, root: Path) -> tuple[tuple[str, ...], str]:
    """The classes of label maps, and the suffix of the images beside them.

    Raises:
        ValueError: If no classes are named, a folder is missing, the images have several suffixes,
            or an image has no label map.
    """
    if not classes:
        raise ValueError('label maps do not name their classes: give classes, in the order of their labels')
    suffixes = set()
    for split in FOLDERS:
        for kind in ('images', 'labels'):
            if not (root / kind / split).is_dir():
                raise ValueError(f'{root} has no folder {kind}/{split}/')
        for image in sorted((root / 'images' / split).iterdir()):
            label = root / 'labels' / split / f'{image.stem}.png'
            if not label.is_file():
                raise ValueError(f'{image} has no label map {label}')
            suffixes.add(image.suffix)
    if len(suffixes) != 1:
        raise ValueError(
            f'the images in {root / "images"} must share one suffix, and have {sorted(suffixes)}'
        )
    return tuple(classes), suffixes.pop()


def keypoint_metainfo(category: dict[str, Any], file: str) -> dict[str, Any]:
    """mmpose's description of a category's keypoints; 'left_x' and 'right_x' mirror each other.

    Raises:
        ValueError: If it names none, or its skeleton links others.
    """
    names = category.get('keypoints')
    if not names:
        raise ValueError(f'{file} names no keypoints of its category {category["name"]!r}')
    for link in category.get('skeleton', []):
        if min(link) < 1 or max(link) > len(names):
            raise ValueError(f'{file} has a skeleton with {link}, and its keypoints are 1 to {len(names)}')
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
