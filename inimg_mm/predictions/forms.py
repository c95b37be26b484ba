"""The forms of predictions, and which one a data sample has."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inimg_mm.errors import UsageError

from . import boxes, classes, keypoints, maps
from .records import Image, Record, Sample, Subject, part_of


class Form(NamedTuple):
    """One kind of prediction.

    Attributes:
        fits: Whether a data sample has it.
        keep: What is kept of a data sample: little, since it is held for all of them.
        write: Write all records to a file, whole or not at all.
    """

    fits: Callable[[Sample], bool]
    keep: Callable[[Sample, Image, Subject, Path], Any]
    write: Callable[[Sequence[Record], Subject, Path], None]

    def record(self, sample: Sample, image: Image, subject: Subject, out: Path) -> Record:
        """The record of a data sample for the file ``out``."""
        return Record(image, part_of(sample), self.keep(sample, image, subject, out))


FORMS = {
    'keypoints': Form(keypoints.fits, keypoints.keep, keypoints.write),  # before boxes: they give some too
    'boxes': Form(boxes.fits, boxes.keep, boxes.write),
    'classes': Form(classes.fits, classes.keep, classes.write),
    'class maps': Form(maps.fits, maps.keep, maps.write),
}


def form_of(sample: Sample) -> str:
    """The form that a data sample's predictions have, a key of :data:`FORMS`.

    Raises:
        UsageError: If it has none.
    """
    for name, form in FORMS.items():
        if form.fits(sample):
            return name
    raise UsageError(
        f'predictions of {", ".join(FORMS)} are saved; this model gives a {type(sample).__name__} '
        f'with {sorted(sample.keys())}'
    )
