"""A label map an image: which belong together, and whether they agree."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from inimg_mm.errors import UsageError

from .class_folders import by_suffix, files_below, is_image

SUFFIX = '.png'
"""Of a label map; it has the name of its image otherwise."""
CHANNELS = (2, 3, 4)
"""Grey or colours, with transparency or without."""


class MapFolder(NamedTuple):
    """Images and their label maps.

    Attributes:
        pairs: Image and label map, each relative to its folder.
        others: How many files of the images' folder are left out by suffix.
    """

    pairs: list[tuple[str, str]]
    others: Counter[str]


def read_map_folders(images: str | Path, labels: str | Path) -> MapFolder:
    """Pair the images of a folder and those below it with their label maps.

    ``street/a.jpg`` has the label map ``street/a.png``; hidden files and folders are left out.

    Raises:
        UsageError: If a folder is missing, there is no image, an image has no label map, or two have one.
    """
    for folder in (images, labels):
        if not os.path.isdir(folder):
            raise UsageError(f'there is no folder {folder}')
    known = set(files_below(labels))
    pairs: list[tuple[str, str]] = []
    users: dict[str, str] = {}
    others: Counter[str] = Counter()
    for image in files_below(images):
        stem, suffix = os.path.splitext(image)
        if not is_image(image):
            others[suffix.lower() or 'no suffix'] += 1
            continue
        label = stem + SUFFIX
        if label not in known:
            raise UsageError(
                f'{Path(images, image)} has no label map {Path(labels, label)}{_hint(stem, known)}'
            )
        if label in users:
            raise UsageError(
                f'{Path(images, image)} and {users[label]} would share the label map {Path(labels, label)}'
            )
        users[label] = image
        pairs.append((image, label))
    if not pairs:
        raise UsageError(f'there is no image in {images}')
    return MapFolder(pairs, others)


def unread_images(folder: str | Path, suffix: str) -> str | None:
    """What mmseg's data set leaves out of a folder of images without a word: those of another suffix.

    Args:
        folder: The folder.
        suffix: The end of the names that it reads.
    """
    images = [name for name in files_below(folder) if is_image(name)]
    others = Counter(os.path.splitext(name)[1] for name in images if not name.endswith(suffix))
    if not others:
        return None
    return (
        f'{folder}: {len(images) - others.total()} images are used, and not {", ".join(by_suffix(others))}, '
        f"since img_suffix is {suffix!r}; type='inimg_mm.LabelMaps' reads all"
    )


def _hint(stem: str, known: set[str]) -> str:
    """What is there instead of a label map, if its name is near."""
    near = sorted(name for name in known if name.startswith(stem))
    return (
        f'; there is {near[0]!r}, and the name of a label map is that of its image with {SUFFIX}'
        if near
        else ''
    )


def why_no_label_map(shape: tuple[int, ...], image: tuple[int, int] | None) -> str | None:
    """What is wrong with the shape of a loaded label map, or None.

    Args:
        shape: (H, W), or (H, W, C) where it has channels; volumes are not looked at.
        image: Height and width of its image; None where they are not known.
    """
    if len(shape) == 3 and shape[2] in CHANNELS:
        return (
            f'it has {shape[2]} channels, and one class index a pixel is wanted: save it as an image of one '
            'channel (grey or with a palette), without colours'
        )
    if len(shape) == 2 and image is not None and tuple(shape) != tuple(image):
        return (
            f'it is {shape[1]} wide and {shape[0]} high, and its image {image[1]} wide and {image[0]} high: '
            'resize it without interpolation (nearest)'
        )
    return None
