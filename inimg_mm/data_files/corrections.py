"""What an annotation file can have otherwise than the hosts read it, and has one right reading.

A run then reads a corrected copy; the file itself stays as it is. Each kind is a row of :data:`CORRECTIONS`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .annotations import Content, identity


def _crowds_unsaid(content: Content) -> Iterator[Content]:
    return (a for a in _annotations(content) if a.get('iscrowd') is None)


def _no_crowd(content: Content) -> None:
    for annotation in _crowds_unsaid(content):
        annotation['iscrowd'] = 0


def _crowds_as_text(content: Content) -> Iterator[Content]:
    return (a for a in _annotations(content) if a.get('iscrowd') in ('0', '1'))


def _crowd_numbers(content: Content) -> None:
    for annotation in list(_crowds_as_text(content)):
        annotation['iscrowd'] = int(annotation['iscrowd'])


def _ids_that_match_nothing(content: Content) -> Iterator[Content]:
    """pycocotools enters the ids of matched objects in an array of numbers, where 0 is "no match"."""
    return (a for a in _annotations(content) if type(a.get('id')) is not int or not a['id'])


def _count_ids(content: Content) -> None:
    for number, annotation in enumerate(_annotations(content), start=1):
        annotation['id'] = number


class Correction(NamedTuple):
    """A kind of entry that is read in one way only.

    Attributes:
        what: What the entries have, after their number.
        read_as: What they are taken for.
        find: The entries of a content that have it.
        apply: Changes a content so that it has none.
        trained_on: Whether a training reads it otherwise, too, and not a metric alone.
    """

    what: str
    read_as: str
    find: Callable[[Content], Iterator[Content]]
    apply: Callable[[Content], None]
    trained_on: bool = False


CORRECTIONS = (
    Correction('have no iscrowd', 'iscrowd is 0', _crowds_unsaid, _no_crowd),
    Correction('have a text as iscrowd', 'it is a number', _crowds_as_text, _crowd_numbers, trained_on=True),
    Correction(
        'have an id that COCO\'s evaluation takes for "no match" (0) or cannot count with',
        'the annotations are numbered from 1',
        _ids_that_match_nothing,
        _count_ids,
    ),
)
"""What is corrected on the way. A new kind is a row here and a case in the test of corrections."""


def found_in(content: Content, training: bool) -> list[tuple[Correction, int]]:
    """The corrections that a content needs, each with the number of its entries.

    Args:
        content: From :func:`.read_annotations`, without what is broken.
        training: Whether a training reads it, and no metric.
    """
    counted = [
        (row, sum(1 for _ in row.find(content))) for row in CORRECTIONS if row.trained_on or not training
    ]
    return [(row, count) for row, count in counted if count]


def correct(content: Content) -> None:
    """Apply all corrections to a content, in place."""
    for row in CORRECTIONS:
        if any(True for _ in row.find(content)):
            row.apply(content)


def leave_out_others(content: Content, classes: Sequence[str]) -> None:
    """Leave out the objects of other categories, which mmpose does not tell apart."""
    meant = {identity(category) for category in content['categories'] if category.get('name') in classes}
    content['annotations'] = [a for a in content['annotations'] if identity(a, 'category_id') in meant]


def _annotations(content: Content) -> Iterator[Any]:
    return (a for a in content.get('annotations') or () if isinstance(a, dict))
