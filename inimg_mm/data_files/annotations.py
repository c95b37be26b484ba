"""What is broken in an annotation file, by the id of the annotation and the image."""

import math
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from inimg_mm.errors import AnnotationError

Content = dict[str, Any]

NEEDED = ('id',)
"""What an annotation must have whoever reads it."""


class Broken(NamedTuple):
    """A broken entry of an annotation file: its list, its place in that, and what is wrong with what."""

    kind: str
    place: int
    reason: str


def find_broken(content: Any, masks: bool = False, needed: Collection[str] = NEEDED) -> list[Broken]:
    """Look through annotations in COCO format, as the hosts' ``CocoDataset`` read them.

    Broken is what they would stop at without a name, drop silently, or train on: an image without
    name or size, an annotation with an unknown image or category, a box that is missing, not four finite
    numbers, of negative size or outside its image, keypoints that are not threes of finite numbers or not as
    many as the category has, an id that occurs twice. A box of zero size, which COCO has and the hosts drop,
    is not.

    Args:
        content: From :func:`read_annotations`.
        masks: Whether the masks are read too: they must be there, polygons of at least three points,
            or run lengths of the image's size.
        needed: Keys that every annotation must have, beside those of what is looked at anyway.

    Raises:
        AnnotationError: If it has no lists of images and categories, its annotations are no list, or a
            category has no id or name of its own. The files of a test set have no annotations.
    """
    for kind in ('images', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(kind), list):
            raise AnnotationError(f'it has no list of {kind}, as COCO format has')
    annotations = content.get('annotations', [])
    if not isinstance(annotations, list):
        raise AnnotationError(f'its annotations are {type(annotations).__name__}, and not a list')
    categories = _categories(content['categories'])
    objects = [image for image in content['images'] if isinstance(image, dict)]
    images, uses = {_id(image): image for image in objects}, Counter(map(_id, objects))
    found = [
        Broken('images', place, why)
        for place, image in enumerate(content['images'])
        if (why := _image_fault(image, uses))
    ]
    counts = Counter(_id(annotation) for annotation in annotations if isinstance(annotation, dict))
    for place, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            found.append(Broken('annotations', place, f'annotation number {place} is no object'))
            continue
        image = images.get(_id(annotation, 'image_id'), {})
        faults = [f'it has no {key}' for key in needed if annotation.get(key) is None]
        faults += _annotation_faults(annotation, image, categories)
        if masks:
            faults += _mask_faults(annotation.get('segmentation'), image)
        if counts[_id(annotation)] > 1:
            counts[_id(annotation)] -= 1
            faults = [*faults, 'the id occurs again']
        if faults:
            image_id = _id(annotation, 'image_id')
            where = f'annotation {_id(annotation)} of image {image_id} ({image.get("file_name")})'
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


def _categories(listed: list[Any]) -> dict[Any, int]:
    """How many keypoints each category has, by its id; 0 where it does not say."""
    found: dict[Any, int] = {}
    for category in listed:
        for key in ('id', 'name'):
            if not isinstance(category, dict) or category.get(key) is None:
                raise AnnotationError(f'its category {category!r} has no {key}')
        if _id(category) in found:
            raise AnnotationError(f'two of its categories have the id {_id(category)}')
        points = category.get('keypoints')
        found[_id(category)] = len(points) if isinstance(points, list) else 0
    return found


def _image_fault(image: Any, uses: Counter[Any]) -> str | None:
    if not isinstance(image, dict):
        return f'image {image!r} is no object'
    where = f'image {_id(image)} ({image.get("file_name")})'
    missing = [key for key in ('id', 'file_name', 'width', 'height') if image.get(key) in (None, '')]
    if missing:
        return f'{where} has no {", ".join(missing)}'
    if uses[_id(image)] > 1:
        return f'{where} has the id of another image'
    if not isinstance(image['file_name'], str):
        return f'{where} has a file_name that is no text'
    size = [image['width'], image['height']]
    return None if _numbers(size) and min(size) > 0 else f'{where} has the size {size}'


def _annotation_faults(annotation: Content, image: Content, categories: dict[Any, int]) -> list[str]:
    faults = []
    if not image:
        faults.append('there is no such image')
    if (category := _id(annotation, 'category_id')) not in categories:
        faults.append(f'there is no category {category}')
    faults += _box_faults(annotation.get('bbox'), image)
    area = annotation.get('area')
    if area is not None and not (_numbers([area]) and area >= 0):
        faults.append(f'its area is {area!r}')
    if 'keypoints' in annotation:
        points, count = annotation['keypoints'], categories.get(category, 0)
        if not _numbers(points) or len(points) % 3:
            faults.append('its keypoints are not threes of finite numbers')
        elif count and len(points) != 3 * count:
            faults.append(f'it has {len(points) // 3} keypoints, and its category has {count}')
    return faults


def _box_faults(box: Any, image: Content) -> list[str]:
    if box is None:
        return ['it has no bbox']
    if not _numbers(box) or len(box) != 4:
        return [f'its bbox {box} is not four finite numbers']
    x, y, width, height = box
    if min(width, height) < 0:
        return [f'its bbox {box} has a negative size']
    size = [image.get('width'), image.get('height')]
    if min(width, height) > 0 and _numbers(size) and not (-width < x < size[0] and -height < y < size[1]):
        return [f'its bbox {box} is outside the image, which is {size[0]} wide and {size[1]} high']
    return []


def _mask_faults(mask: Any, image: Content) -> list[str]:
    if not mask:
        return ['it has no segmentation']
    if isinstance(mask, dict):
        return _run_length_faults(mask.get('counts'), mask.get('size'), image)
    if not isinstance(mask, list):
        return [f'its segmentation is {type(mask).__name__}, and not polygons or run lengths']
    for polygon in mask:
        if not _numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
            return ['a polygon of its segmentation is not three or more pairs of finite numbers']
    return []


def _run_length_faults(counts: Any, size: Any, image: Content) -> list[str]:
    if not counts or not (isinstance(counts, str) or _numbers(counts)) or not _numbers(size):
        return ['its run lengths have no counts or size']
    known = [image.get('height'), image.get('width')]
    if None not in known and size != known:
        return [f'its run lengths are of the size {size}, and its image of {known}']
    if isinstance(counts, list) and (min(counts) < 0 or sum(counts) > math.prod(size)):
        return ['its run lengths are negative, or longer than its image']
    return []


def _id(entry: Content, key: str = 'id') -> Any:
    """An id of an entry, or what stands in its place in a form that can be looked up."""
    value = entry.get(key)
    return str(value) if isinstance(value, list | dict) else value


def _numbers(values: Any) -> bool:
    """Whether these are finite numbers in a list; their sum tells, and quickly."""
    try:
        return isinstance(values, list) and math.isfinite(sum(values))
    except (TypeError, OverflowError):
        return False
