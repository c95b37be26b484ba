"""What is broken in an annotation file, by the id of the annotation and the image.

Each kind of fault of an annotation is a row of :data:`FAULTS`. What is not broken, and is corrected on the
way, is in :mod:`.corrections`; what a host leaves out without a word, in :mod:`.left_out`.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from inimg_mm.errors import AnnotationError

Content = dict[str, Any]

NEEDED = ('id',)
"""What an annotation must have whoever reads it."""


Faults = list[str] | None
"""What is wrong with an entry; None or nothing if nothing is."""


class Broken(NamedTuple):
    """A broken entry of an annotation file: its list, its place in that, and what is wrong with what."""

    kind: str
    place: int
    reason: str


class Lists(NamedTuple):
    """What the annotations of a file refer to, by id."""

    images: dict[Any, Content]
    categories: dict[Any, Content]


def find_broken(content: Any, masks: bool = False, needed: Collection[str] = NEEDED) -> list[Broken]:
    """Look through annotations in COCO format, as the hosts' ``CocoDataset`` read them.

    Broken is what they would stop at without a name, drop silently, or train on: an image without
    name or size, an annotation with an unknown image or category, a box that is missing, not four finite
    numbers, of negative size or outside its image, keypoints that are not threes of finite numbers or not as
    many as the category has, an id that occurs twice. A box of zero size, which COCO has and the hosts drop,
    is not.

    Args:
        content: From :func:`.read_annotations`.
        masks: Whether the masks are read too: they must be there, polygons of at least three points,
            or run lengths of the image's size.
        needed: Keys that every annotation must have, beside those of what is looked at anyway.

    Raises:
        AnnotationError: If it has no lists of images and categories, its annotations are no list, or a
            category has no id or name of its own. The files of a test set have no annotations.
    """
    annotations = annotations_of(content)
    lists = lists_of(content)
    uses = Counter(identity(image) for image in content['images'] if isinstance(image, dict))
    found = [
        Broken('images', place, why)
        for place, image in enumerate(content['images'])
        if (why := _image_fault(image, uses))
    ]
    counts = Counter(identity(annotation) for annotation in annotations if isinstance(annotation, dict))
    rows = [row.find for row in FAULTS if masks or not row.of_masks]
    for place, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            found.append(Broken('annotations', place, f'annotation number {place} is no object'))
            continue
        faults = [f'it has no {key}' for key in needed if annotation.get(key) is None]
        for find in rows:
            if fault := find(annotation, lists):
                faults += fault
        if counts[own := identity(annotation)] > 1:
            counts[own] -= 1
            faults.append('the id occurs again')
        if faults:
            image_id = identity(annotation, 'image_id')
            name = lists.images.get(image_id, {}).get('file_name')
            where = f'annotation {own} of image {image_id} ({name})'
            found.append(Broken('annotations', place, f'{where}: {", ".join(faults)}'))
    return found


def without(content: Content, broken: Iterable[Broken]) -> Content:
    """The same annotations without broken ones; an image goes with all of its annotations."""
    places = {kind: {b.place for b in broken if b.kind == kind} for kind in ('images', 'annotations')}
    dropped = [content['images'][place] for place in places['images']]
    ids = {identity(image) for image in dropped if isinstance(image, dict)}
    return {
        **content,
        'images': [image for place, image in enumerate(content['images']) if place not in places['images']],
        'annotations': [
            annotation
            for place, annotation in enumerate(content.get('annotations', []))
            if place not in places['annotations'] and identity(annotation, 'image_id') not in ids
        ],
    }


def annotations_of(content: Any) -> list[Any]:
    """The list of annotations; empty where a file has none, as those of test sets.

    Raises:
        AnnotationError: If what is there is not COCO's format.
    """
    for kind in ('images', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(kind), list):
            raise AnnotationError(f'it has no list of {kind}, as COCO format has')
    annotations = content.get('annotations', [])
    if not isinstance(annotations, list):
        raise AnnotationError(f'its annotations are {type(annotations).__name__}, and not a list')
    return annotations


def lists_of(content: Content) -> Lists:
    """The images and categories of a file by their ids.

    Raises:
        AnnotationError: If a category has no id or name of its own.
    """
    categories: dict[Any, Content] = {}
    for category in content['categories']:
        for key in ('id', 'name'):
            if not isinstance(category, dict) or category.get(key) is None:
                raise AnnotationError(f'its category {category!r} has no {key}')
        if identity(category) in categories:
            raise AnnotationError(f'two of its categories have the id {identity(category)}')
        categories[identity(category)] = category
    images = {identity(image): image for image in content['images'] if isinstance(image, dict)}
    return Lists(images, categories)


def identity(entry: Content, key: str = 'id') -> Any:
    """An id of an entry, or what stands in its place in a form that can be looked up."""
    value = entry.get(key)
    return str(value) if isinstance(value, list | dict) else value


def numbers(values: Any) -> bool:
    """Whether these are finite numbers in a list; their sum tells, and quickly."""
    try:
        return isinstance(values, list) and math.isfinite(sum(values))
    except (TypeError, OverflowError):
        return False


# ---- faults of an image ----------------------------------------------------------------------------------


def _image_fault(image: Any, uses: Counter[Any]) -> str | None:
    if not isinstance(image, dict):
        return f'image {image!r} is no object'
    where = f'image {identity(image)} ({image.get("file_name")})'
    missing = [key for key in ('id', 'file_name', 'width', 'height') if image.get(key) in (None, '')]
    if missing:
        return f'{where} has no {", ".join(missing)}'
    if uses[identity(image)] > 1:
        return f'{where} has the id of another image'
    if not isinstance(image['file_name'], str):
        return f'{where} has a file_name that is no text'
    size = [image['width'], image['height']]
    return None if numbers(size) and min(size) > 0 else f'{where} has the size {size}'


# ---- faults of an annotation, for the rows of FAULTS -----------------------------------------------------


def _references(annotation: Content, lists: Lists) -> Faults:
    faults = []
    if identity(annotation, 'image_id') not in lists.images:
        faults.append(_unknown(annotation, 'image_id', lists.images, 'image'))
    if identity(annotation, 'category_id') not in lists.categories:
        faults.append(_unknown(annotation, 'category_id', lists.categories, 'category'))
    return faults


def _unknown(annotation: Content, key: str, known: dict[Any, Content], what: str) -> str:
    value = identity(annotation, key)
    if isinstance(value, str) and value.strip().isdecimal() and int(value) in known:
        return f'its {key} is the text {value!r}, and the {what} has the number {int(value)}: write a number'
    if isinstance(value, int) and str(value) in known:
        return f'its {key} is {value}, and the id of the {what} is the text {str(value)!r}: write a number'
    return 'there is no such image' if what == 'image' else f'there is no category {value}'


def _box(annotation: Content, lists: Lists) -> Faults:
    box = annotation.get('bbox')
    if box is None:
        return ['it has no bbox']
    if not numbers(box) or len(box) != 4:
        return [f'its bbox {box} is not four finite numbers']
    x, y, width, height = box
    if width < 0 or height < 0:
        return [f'its bbox {box} has a negative size']
    image = lists.images.get(identity(annotation, 'image_id'), {})
    size = [image.get('width'), image.get('height')]
    if width and height and numbers(size) and not (-width < x < size[0] and -height < y < size[1]):
        return [f'its bbox {box} is outside the image, which is {size[0]} wide and {size[1]} high']
    return None


def _area(annotation: Content, lists: Lists) -> Faults:
    area = annotation.get('area')
    return None if area is None or (numbers([area]) and area >= 0) else [f'its area is {area!r}']


def _crowd(annotation: Content, lists: Lists) -> Faults:
    crowd = annotation.get('iscrowd')
    return None if crowd in (0, None, 1, '0', '1') else [f'its iscrowd is {crowd!r}, and neither 0 nor 1']


def _keypoints(annotation: Content, lists: Lists) -> Faults:
    if 'keypoints' not in annotation:
        return None
    points = annotation['keypoints']
    if not numbers(points) or len(points) % 3:
        return ['its keypoints are not threes of finite numbers']
    names = lists.categories.get(identity(annotation, 'category_id'), {}).get('keypoints')
    count = len(names) if isinstance(names, list) else 0
    if count and len(points) != 3 * count:
        return [f'it has {len(points) // 3} keypoints, and its category has {count}']
    return None


def _mask(annotation: Content, lists: Lists) -> Faults:
    mask = annotation.get('segmentation')
    if not mask:
        return ['it has no segmentation']
    if isinstance(mask, dict):
        image = lists.images.get(identity(annotation, 'image_id'), {})
        return _run_length_faults(mask.get('counts'), mask.get('size'), image)
    if not isinstance(mask, list):
        return [f'its segmentation is {type(mask).__name__}, and not polygons or run lengths']
    for polygon in mask:
        if not numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
            return ['a polygon of its segmentation is not three or more pairs of finite numbers']
    return None


def _run_length_faults(counts: Any, size: Any, image: Content) -> Faults:
    if not counts or not (isinstance(counts, str) or numbers(counts)) or not numbers(size):
        return ['its run lengths have no counts or size']
    known = [image.get('height'), image.get('width')]
    if None not in known and size != known:
        return [f'its run lengths are of the size {size}, and its image of {known}']
    if isinstance(counts, list) and (min(counts) < 0 or sum(counts) > math.prod(size)):
        return ['its run lengths are negative, or longer than its image']
    return None


class Fault(NamedTuple):
    """A kind of fault of an annotation.

    Attributes:
        find: Says what is wrong with an annotation, given the images and categories of its file.
        of_masks: Whether it counts only where masks are read.
    """

    find: Callable[[Content, Lists], Faults]
    of_masks: bool = False


FAULTS = (
    Fault(_references),
    Fault(_box),
    Fault(_area),
    Fault(_crowd),
    Fault(_keypoints),
    Fault(_mask, of_masks=True),
)
"""What an annotation can have wrong. A new kind is a row here and a case in its test."""
