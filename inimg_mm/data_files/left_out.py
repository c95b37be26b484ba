"""What the hosts leave out of an annotation file without a word, and what they would misread as a whole.

The rows of :data:`LEFT_OUT` are what each host's ``CocoDataset`` skips, in its order; those of
:data:`MISREAD` what makes no sense of a whole file.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from .annotations import Content, Lists, identity, lists_of, numbers

KEPT = ''
"""The reason of what is not left out."""


class LeftOut(NamedTuple):
    """A kind of object that is not trained on.

    Attributes:
        reason: Said after the number of them.
        applies: Whether an annotation that is not broken is one, given its image.
    """

    reason: str
    applies: Callable[[Content, Content], Any]


def _no_area(annotation: Content, image: Content) -> bool:
    x, y, width, height = annotation['bbox']
    if width < 1 or height < 1 or annotation.get('area') == 0:
        return True
    return x + width <= 0 or y + height <= 0 or x >= image['width'] or y >= image['height']


def _no_box(annotation: Content, image: Content) -> bool:
    x, y, width, height = annotation['bbox']
    right, bottom = image['width'] - 1, image['height'] - 1
    return min(max(x + width, 0), right) <= min(max(x, 0), right) or min(max(y + height, 0), bottom) <= min(
        max(y, 0), bottom
    )


def _nothing_marked(annotation: Content, image: Content) -> bool:
    points = annotation['keypoints']
    marked = annotation.get('num_keypoints', 1)
    return marked == 0 or not points or max(max(points[::3]), max(points[1::3])) <= 0


CROWD = LeftOut('are crowds (iscrowd 1)', lambda a, image: a.get('iscrowd') in (1, '1'))

LEFT_OUT: dict[str, tuple[LeftOut, ...]] = {
    'mmdet': (
        LeftOut('are marked to be ignored', lambda a, image: a.get('ignore')),
        LeftOut('are smaller than a pixel or have no area', _no_area),
        CROWD,
    ),
    'mmpose': (
        LeftOut('have no keypoints', lambda a, image: 'keypoints' not in a),
        CROWD,
        LeftOut('have no marked keypoint', _nothing_marked),
        LeftOut('have a box without size', _no_box),
    ),
}
"""What each host leaves out. A new kind is a row here and a case in the test of what is left out."""


class Tally(NamedTuple):
    """How many objects of a file are used.

    Attributes:
        counts: Objects by category and reason; the reason is :data:`KEPT` for those that are used.
        images: For each category, the images with an object of it that is used.
    """

    counts: Counter[tuple[Any, str]]
    images: dict[Any, set[Any]]

    def kept(self, categories: Iterable[Any]) -> int:
        """How many objects of these categories are used."""
        return sum(self.counts[one, KEPT] for one in categories)

    def reasons(self, categories: Iterable[Any]) -> Counter[str]:
        """How many are left out by reason; those of other categories among them."""
        chosen, found = set(categories), Counter[str]()
        for (category, reason), count in self.counts.items():
            if category not in chosen:
                found['are of other classes'] += count
            elif reason != KEPT:
                found[reason] += count
        return found


def tally(content: Content, host: str) -> Tally:
    """Count what a host uses of a content, and what it leaves out.

    Args:
        content: Without what is broken.
        host: 'mmdet' or 'mmpose'.
    """
    lists = lists_of(content)
    rows = LEFT_OUT.get(host, ())
    counts: Counter[tuple[Any, str]] = Counter()
    images: dict[Any, set[Any]] = defaultdict(set)
    for annotation in content.get('annotations') or ():
        image = lists.images[annotation['image_id']]
        key, reason = annotation['category_id'], KEPT
        for row in rows:
            if row.applies(annotation, image):
                reason = row.reason
                break
        else:
            images[key].add(annotation['image_id'])
        counts[key, reason] += 1
    return Tally(counts, images)


# ---- misread as a whole ----------------------------------------------------------------------------------

LEAST = 3
"""Objects that a file has at least before it is judged as a whole."""


def _values(content: Content, key: str) -> Iterator[tuple[Any, Content]]:
    """What the annotations have under a key, with the annotation."""
    for annotation in content.get('annotations') or ():
        if isinstance(annotation, dict) and annotation.get(key):
            yield annotation[key], annotation


def _boxes(content: Content) -> Iterator[tuple[Any, Content]]:
    """The boxes with a size."""
    for box, annotation in _values(content, 'bbox'):
        if numbers(box) and len(box) == 4 and box[2] > 0 and box[3] > 0:
            yield box, annotation


SHARES = 'they look like shares of the image from 0 to 1; COCO has pixels: multiply by its width and height'


def _shares(content: Content, lists: Lists) -> str | None:
    count, first = 0, None
    for box, _ in _boxes(content):
        if box[0] + box[2] > 1.01 or box[1] + box[3] > 1.01:
            return None
        count, first = count + 1, first or box
    return f'no box of {count} is as large as a pixel (the first is {first}): {SHARES}' if count else None


def _corners(content: Content, lists: Lists) -> str | None:
    """Boxes that end outside their image, and inside it if their second pair is a corner."""
    count, outside, first = 0, 0, None
    for (x, y, right, bottom), annotation in _boxes(content):
        image = lists.images.get(identity(annotation, 'image_id'), {})
        width, height = image.get('width', 0), image.get('height', 0)
        if not (numbers([width, height]) and 0 <= x < right <= width + 1 and 0 <= y < bottom <= height + 1):
            return None
        count, first = count + 1, first or annotation['bbox']
        outside += x + right > width + 1 or y + bottom > height + 1
    if count < LEAST or 4 * outside < count:
        return None
    return (
        f'{outside} of {count} boxes reach out of their images (the first box is {first}): they look like '
        'corners (left, top, right, bottom); COCO has left, top, width, height'
    )


def _keypoint_shares(content: Content, lists: Lists) -> str | None:
    count = 0
    for points, _ in _values(content, 'keypoints'):
        if numbers(points) and any(points):
            if max(points[::3]) > 1.01 or max(points[1::3]) > 1.01:
                return None
            count += 1
    return f'the keypoints of all {count} objects are within a pixel: {SHARES}' if count >= LEAST else None


def _polygon_shares(content: Content, lists: Lists) -> str | None:
    count = 0
    for mask, _ in _values(content, 'segmentation'):
        if isinstance(mask, list) and mask[0] and numbers(mask[0]):
            if max(mask[0]) > 1.01:
                return None
            count += 1
    return f'the polygons of all {count} masks are within a pixel: {SHARES}' if count >= LEAST else None


class Misread(NamedTuple):
    """A way in which a whole file makes no sense as COCO's format.

    Attributes:
        find: Says what it looks like, or None.
        reads: What must be read for it to count: 'boxes', 'masks' or 'keypoints'.
    """

    find: Callable[[Content, Lists], str | None]
    reads: str = 'boxes'


MISREAD = (
    Misread(_shares),
    Misread(_corners),
    Misread(_keypoint_shares, 'keypoints'),
    Misread(_polygon_shares, 'masks'),
)
"""What a whole file can be taken for that it is not. A new kind is a row here and a case in its test."""


def find_misread(content: Content, masks: bool, keypoints: bool) -> str | None:
    """What a file looks like if its numbers are not those of COCO's format; None if they may be."""
    lists, reads = lists_of(content), {'boxes': True, 'masks': masks, 'keypoints': keypoints}
    return next((why for row in MISREAD if reads[row.reads] and (why := row.find(content, lists))), None)
