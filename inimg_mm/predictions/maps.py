"""Class maps: a PNG of labels for each image, written at once, and one entry with its pixels by class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from inimg_mm.output_files import json_text

from .records import Image, Record, Sample, Subject, array, write_by_image


def fits(sample: Sample) -> bool:
    """Whether there is a class map."""
    return 'pred_sem_seg' in sample


def keep(sample: Sample, image: Image, subject: Subject, out: Path) -> str:
    """Write the map, whose grey values are the labels (8 bits, or 16 of more than 256 classes); the entry."""
    labels = array(sample.pred_sem_seg.data).squeeze(0)
    path = folder(out) / _name(image, subject.root)
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(path)
    counts = zip(*np.unique(labels, return_counts=True), strict=True)
    return json_text(
        dict(
            path=image.path,
            width=image.width,
            height=image.height,
            map=str(path.relative_to(out.parent)),
            pixels={subject.name(int(label)): int(count) for label, count in counts},
        )
    )


def write(records: Sequence[Record], subject: Subject, out: Path) -> None:
    """Write the entries of all images."""
    write_by_image(records, subject, out)


def folder(out: Path) -> Path:
    """Where the maps of a file of predictions are."""
    return out.with_name(f'{out.stem}_maps')


def _name(image: Image, root: Path | None) -> Path:
    """Path of an image's map in the folder of maps."""
    path = Path(image.path).absolute()
    if root is not None and path.is_relative_to(root.absolute()):
        path = path.relative_to(root.absolute())
    else:
        path = Path(path.name)
    return path.with_suffix('.png')
