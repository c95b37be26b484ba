"""What is broken in an annotation file, by the id of the annotation and the image."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from inimg_mm.atomic import replacing

Content = dict[str, Any]


class AnnotationError(ValueError):
    """An annotation file that cannot be read, or has broken entries; the message names them."""


class Broken(NamedTuple):
    """A broken entry of an annotation file: its list, its place in that, and what is wrong with what."""

    kind: str
    place: int
    reason: str


def read_annotations(path: str | Path) -> Any:
    """Parse a JSON file.

    Raises:
        AnnotationError: If it is no JSON, for example because it is cut off.
    """
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except (ValueError, OSError) as error:  # of JSON or of the encoding
        raise AnnotationError(f'the annotation file {path} cannot be read: {error}') from error


def find_broken(content: Any, masks: bool = False) -> list[Broken]:
    """Look through annotations in COCO format, as the hosts' ``CocoDataset`` read them.

    Broken is what they would stop at without a name, drop silently, or train on: an image without
    name or size, an annotation with an unknown image or category, a box that is missing, not four finite
    numbers or of negative size, keypoints that are not threes of finite numbers, an id that
    occurs twice. A box of zero size, which COCO has and the hosts drop, is not.

    Args:
        content: From :func:`read_annotations`.
        masks: Whether the masks are read too: they must be there, polygons of at least three points,
            or run lengths.

    Raises:
        AnnotationError: If it has no lists of images and categories. Those of a test set have no others.
    """
    for kind in ('images', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(kind), list):
            raise AnnotationError(f'it has no list of {kind}, as COCO format has')
    images, annotations = content['images'], content.get('annotations', [])
    names = {_id(image): image.get('file_name') for image in images if isinstance(image, dict)}
    categories = {_id(category) for category in content['categories'] if isinstance(category, dict)}
    found = [
        Broken('images', place, why) for place, image in enumerate(images) for why in _image_faults(image)
    ]
    counts = Counter(_id(annotation) for annotation in annotations if isinstance(annotation, dict))
    for place, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            found.append(Broken('annotations', place, f'annotation number {place} is no object'))
            continue
        faults = _annotation_faults(annotation, names, categories, masks)
        if counts[_id(annotation)] > 1:
            counts[_id(annotation)] -= 1
            faults = [*faults, 'the id occurs again']
        if faults:
            image_id = _id(annotation, 'image_id')
            where = f'annotation {_id(annotation)} of image {image_id} ({names.get(image_id)})'
            found.append(Broken('annotations', place, f'{where}: {", ".join(faults)}'))
    return found


def without(content: Content, broken: Iterable[Broken]) -> Content:
    """The same annotations without broken ones; an image goes with all of its annotations."""
    places = {kind: {b.place for b in broken if b.kind == kind} for kind in ('images', 'annotations')}
    dropped = [content['images'][place] for place in places['images']]
    ids = {_id(image) for image in dropped if isinstance(image, dict)}
    return {
        **content,
        'images': [image for place, image in enumerate(content['images']) if place not in places['images']],
        'annotations': [
            annotation
            for place, annotation in enumerate(content.get('annotations', []))
            if place not in places['annotations'] and _id(annotation, 'image_id') not in ids
        ],
    }


def write_annotations(content: Content, path: Path) -> None:
    """Write a JSON file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content), encoding='utf-8')


def _image_faults(image: Any) -> Iterator[str]:
    if not isinstance(image, dict):
        yield f'image {image!r} is no object'
        return
    missing = [key for key in ('id', 'file_name', 'width', 'height') if key not in image]
    if missing:
        yield f'image {_id(image)} ({image.get("file_name")}) has no {", ".join(missing)}'


def _annotation_faults(
    annotation: Content, images: dict[Any, Any], categories: set[Any], masks: bool
) -> list[str]:
    faults = []
    if _id(annotation, 'image_id') not in images:
        faults.append('there is no such image')
    if (category := _id(annotation, 'category_id')) not in categories:
        faults.append(f'there is no category {category}')
    faults += _box_faults(annotation.get('bbox'))
    if 'keypoints' in annotation:
        points = annotation['keypoints']
        if not _numbers(points) or len(points) % 3:
            faults.append('its keypoints are not threes of finite numbers')
    if masks:
        faults += _mask_faults(annotation.get('segmentation'))
    return faults


def _box_faults(box: Any) -> list[str]:
    if box is None:
        return ['it has no bbox']
    if not _numbers(box) or len(box) != 4:
        return [f'its bbox {box} is not four finite numbers']
    return [f'its bbox {box} has a negative size'] if min(box[2:]) < 0 else []


def _mask_faults(mask: Any) -> list[str]:
    if not mask:
        return ['it has no segmentation']
    if isinstance(mask, dict):
        runs = mask.get('counts')
        whole = isinstance(runs, str) or _numbers(runs)
        return [] if whole and _numbers(mask.get('size')) else ['its run lengths have no counts or size']
    if not isinstance(mask, list):
        return [f'its segmentation is {type(mask).__name__}, and not polygons or run lengths']
    for polygon in mask:
        if not _numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
            return ['a polygon of its segmentation is not three or more pairs of finite numbers']
    return []


def _id(entry: Content, key: str = 'id') -> Any:
    """An id of an entry, or what stands in its place in a form that can be looked up."""
    value = entry.get(key)
    return str(value) if isinstance(value, list | dict) else value


def _numbers(values: Any) -> bool:
    """Whether these are finite numbers in a list; their sum tells, and quickly."""
    try:
        return isinstance(values, list) and math.isfinite(sum(values))
    except TypeError:
        return False
