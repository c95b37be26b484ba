"""Classes: one entry an image, with the scores of all classes."""

from collections.abc import Sequence
from pathlib import Path

from inimg_mm.output_files import json_text

from .records import Image, Record, Sample, Subject, array, write_by_image

DIGITS = 6
"""Decimals of a score."""


def fits(sample: Sample) -> bool:
    """Whether there is a class."""
    return 'pred_label' in sample and 'pred_score' in sample


def keep(sample: Sample, image: Image, subject: Subject, out: Path) -> str:
    """The entry. Label and class are lists where a model of several labels finds none or more than one."""
    labels = array(sample.pred_label).ravel().tolist()
    names = [subject.name(label) for label in labels]
    one = len(labels) == 1
    return json_text(
        dict(
            path=image.path,
            width=image.width,
            height=image.height,
            label=labels[0] if one else labels,
            **{'class': names[0] if one else names},
            scores=array(sample.pred_score).astype(float).round(DIGITS).tolist(),
        )
    )


def write(records: Sequence[Record], subject: Subject, out: Path) -> None:
    """Write the entries of all images."""
    write_by_image(records, subject, out)
