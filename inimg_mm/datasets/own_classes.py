"""What a folder of one's own data holds: its classes, checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inimg_mm.data_files.annotation_files import Found
from inimg_mm.data_files.class_folders import read_class_folders, told
from inimg_mm.data_files.label_maps import read_map_folders
from inimg_mm.errors import UsageError

Classes = tuple[str, ...]
Splits = Mapping[str, str]
"""Something of the training set ('train') and of the validation set ('val')."""


def names_of_classes(classes: Any) -> Classes | None:
    """The names as a tuple; a text is one name, as ``('thing')`` is in Python.

    Raises:
        UsageError: If they are no names, one occurs twice, or a text holds several.
    """
    if classes is None:
        return None
    if isinstance(classes, str):
        if ',' in classes:
            raise UsageError(
                f'classes is a list of names, as in ("cat", "dog"), and not the text {classes!r}'
            )
        classes = (classes,)
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) and name for name in classes):
        raise UsageError(f'classes is a list of names, and not {classes!r}')
    if twice := [name for index, name in enumerate(classes) if name in classes[:index]]:
        raise UsageError(f'classes has {twice[0]!r} twice')
    return tuple(classes)


def coco_classes(
    classes: Classes | None, found: Mapping[str, Found], files: Splits
) -> tuple[Classes, list[str]]:
    """The classes to train on, each in both annotation files, and what is said of the choice.

    Args:
        classes: Those that are asked for. Default: the training set's, without a placeholder: a category that
            no object has, and that is the supercategory of the others, as labelling tools write it.
        found: What is in each file.
        files: Their names.

    Raises:
        UsageError: If there are none, one is missing, or they are in another order than in a file.
    """
    known = {split: [category['name'] for category in one.categories] for split, one in found.items()}
    for split, names in known.items():
        if not names:
            raise UsageError(f'{files[split]} has no categories')
        if twice := [name for index, name in enumerate(names) if name in names[:index]]:
            raise UsageError(f'{files[split]} has two categories with the name {twice[0]!r}')
    placeholders = [] if classes else _placeholders(found)
    chosen = classes or tuple(name for name in known['train'] if name not in placeholders)
    for split, names in known.items():
        if missing := [name for name in chosen if name not in names]:
            raise UsageError(f'{files[split]} has no class {missing[0]!r}; its classes are {sorted(names)}')
        in_file = tuple(name for name in names if name in chosen)
        if in_file != chosen:  # which is how the hosts number them, whatever they are told
            raise UsageError(
                f'{files[split]} has the classes in the order {list(in_file)}, not {list(chosen)}'
            )
    counts = found['train'].annotated()
    return chosen, [
        *(f'{name!r} is no class: no object has it, and others are below it' for name in placeholders),
        *(
            f'no object of {files["train"]} is a {name!r}'
            for name in chosen
            if any(counts.values()) and not counts[name]
        ),
    ]


def _placeholders(found: Mapping[str, Found]) -> list[str]:
    """Categories of the training set that no object has, and that are the supercategory of others."""
    counts = [one.annotated() for one in found.values()]
    listed = found['train'].categories
    return [
        category['name']
        for category in listed
        if not any(count[category['name']] for count in counts)
        and any(one.get('supercategory') == category['name'] != one['name'] for one in listed)
    ]


def keypoint_category(
    classes: Classes | None, found: Mapping[str, Found], files: Splits
) -> tuple[dict[str, Any], Classes]:
    """The category that a keypoint model is for, and the names of all with the same keypoints.

    Args:
        classes: Those that are asked for.
        found: What is in each file.
        files: Their names.

    Raises:
        UsageError: If none has keypoints, several have different ones and none is asked for, or the
            validation set has others.
    """
    file, categories = files['train'], found['train'].categories
    names = [category['name'] for category in categories]
    if missing := [name for name in classes or () if name not in names]:
        raise UsageError(f'{file} has no class {missing[0]!r}; its classes are {sorted(names)}')
    asked = [category for category in categories if not classes or category['name'] in classes]
    with_points = [category for category in asked if category.get('keypoints')]
    if not with_points:
        told = ', '.join(repr(category['name']) for category in asked)
        raise UsageError(f'{file} names no keypoints of its category {told}')
    counts = found['train'].annotated()
    used = [category for category in with_points if counts[category['name']]] or with_points[:1]
    different = [category for category in used if category['keypoints'] != used[0]['keypoints']]
    if different:
        told = ', '.join(f'{category["name"]!r} ({len(category["keypoints"])})' for category in used)
        raise UsageError(
            f'{file} has categories with different keypoints, {told}, and a model has those of one: '
            f'choose it: classes=({used[0]["name"]!r},), --classes {used[0]["name"]}'
        )
    names = [category['name'] for category in used]
    for one in found['val'].categories:
        if one['name'] in names and one.get('keypoints') != used[0]['keypoints']:
            raise UsageError(f'{files["val"]} has other keypoints of {one["name"]!r} than {file}')
    if not any(one['name'] in names for one in found['val'].categories):
        raise UsageError(f'{files["val"]} has no class {names[0]!r}')
    return used[0], tuple(names)


def class_folders(classes: Classes | None, root: Path, folders: Splits) -> tuple[Classes, list[str]]:
    """The class folders of the training set in the order of their labels, which the validation set has too.

    Raises:
        UsageError: If it has not, there are none, one has no image, or ``classes`` names others.
    """
    found, said = {}, []
    for split, folder in folders.items():
        if not (root / folder).is_dir():
            raise UsageError(
                f'{root} has no folder {folder}/ with one folder of images per class'
                + _other_folder(root, split)
            )
        one = read_class_folders(root / folder)
        found[split] = sorted(one.images)
        if empty := [name for name, images in one.images.items() if not images and split == 'train']:
            raise UsageError(f'the class {empty[0]!r} has no image in {root / folder}')
        if text := told(one):
            said.append(f'{folder} has {text}, which are not used')
    if not found['train'] or found['train'] != found['val']:
        raise UsageError(
            f'{root} has other class folders in {folders["train"]}/, {found["train"]}, than in '
            f'{folders["val"]}/, {found["val"]}'
        )
    if classes and sorted(classes) != found['train']:
        raise UsageError(
            f'classification trains on all class folders, {found["train"]}; got classes {list(classes)}'
        )
    return tuple(found['train']), said


def label_maps(classes: Classes | None, root: Path, images: Splits, labels: Splits) -> list[str]:
    """Look for the label map of each image; returns what is said of files that are not used.

    Raises:
        UsageError: If no classes are named, a folder is missing, or an image has no label map.
    """
    if not classes:
        raise UsageError('label maps do not name their classes: give classes, in the order of their labels')
    said = []
    for split in images:
        for folder in (images[split], labels[split]):
            if not (root / folder).is_dir():
                raise UsageError(
                    f'{root} has no folder {folder}/' + _other_folder(root / folder, split, up=1)
                )
        if others := read_map_folders(root / images[split], root / labels[split]).others:
            said.append(f'{images[split]} has {others.total()} files that are no images')
    return said


OTHER_NAMES = {'val': ('valid', 'validation', 'test'), 'train': ('training',)}


def _other_folder(root: Path, split: str, up: int = 0) -> str:
    """A hint at the option that names the folder of a split, where there is one under another name."""
    parent = root.parent if up else root
    other = next((name for name in OTHER_NAMES[split] if (parent / name).is_dir()), None)
    options = f'{split}_images and {split}_labels' if up else f'{split}_images'
    return f'; there is {other}/, which {options} can name' if other else ''
