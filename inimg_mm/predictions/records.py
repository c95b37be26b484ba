"""What is kept of each image's predictions, and how it is put into words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inimg_mm.output_files import json_text, write_text

Sample = Any
"""A host's data sample, mmengine's ``BaseDataElement``."""


class Image(NamedTuple):
    """An image that was predicted on; width and height in pixels."""

    id: int | str
    path: str
    width: int
    height: int


class Record(NamedTuple):
    """What is kept of one data sample.

    Attributes:
        image: Its image.
        part: What tells samples of one image apart: the id of a top-down keypoint model's object.
        content: The text of its lines in the file; of a keypoint model, its objects.
    """

    image: Image
    part: Any
    content: Any

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for the same sample, whichever rank predicted it."""
        return self.image.path, self.image.id, self.part


@dataclass(frozen=True)
class Scoring:
    """How mmpose's CocoMetric scores the objects of a keypoint model, with its names and defaults.

    Attributes:
        score_mode: 'bbox', 'keypoint', 'bbox_rle' or 'bbox_keypoint'.
        keypoint_score_thr: Keypoints below it do not count in 'bbox_keypoint'.
        nms_mode: 'oks_nms', 'soft_oks_nms' or 'none'.
        nms_thr: Objects more similar to a better one of the image are left out.
        sigmas: Spread of each keypoint.
    """

    score_mode: str = 'bbox_keypoint'
    keypoint_score_thr: float = 0.2
    nms_mode: str = 'oks_nms'
    nms_thr: float = 0.9
    sigmas: Any = None


@dataclass
class Subject:
    """What the predictions are about.

    Attributes:
        classes: Names of the classes, by label.
        categories: COCO's categories, of boxes by label.
        scoring: Of a keypoint model's objects.
        root: Folder that the images are in; the class maps of images below it keep their subfolders.
    """

    classes: Sequence[str] = ()
    categories: Sequence[dict[str, Any]] = ()
    scoring: Scoring = field(default_factory=Scoring)
    root: Path | None = None

    def name(self, label: int) -> str:
        """Name of a class; not every data set has names."""
        return self.classes[label] if label < len(self.classes) else f'class {label}'

    def category_id(self, label: int) -> int:
        """COCO's id of a box's class."""
        return self.categories[label]['id'] if label < len(self.categories) else label


def image_of(sample: Sample) -> Image:
    """The image of a test set's data sample.

    One that is in no file of its own, as CIFAR's and SVHN's are, is called by its place in the data set, from
    0; its size is 0 where the data set does not say.
    """
    path = str(sample.img_path if 'img_path' in sample else f'#{sample.sample_idx}')
    height, width = sample.get('ori_shape', (0, 0))[:2]
    return Image(_plain(sample.get('img_id', path)), path, int(width), int(height))


def part_of(sample: Sample) -> Any:
    """What tells a data sample from others of its image: the id of its object, if it is of one."""
    return _plain(sample.get('id'))


def images_file(out: Path) -> Path:
    """Where the images of a file of COCO results are described."""
    return out.with_name(f'{out.stem}.images.json')


def write_results(lines: Iterable[str], records: Sequence[Record], subject: Subject, out: Path) -> None:
    """Write a file of COCO results, and the one of its images."""
    images = {record.image: None for record in records}
    described = (
        json_text(dict(id=image.id, file_name=image.path, width=image.width, height=image.height))
        for image in images
    )
    categories = json_text(list(subject.categories))
    write_text(
        images_file(out), listed('{"images": [\n', described, f'\n],\n"categories": {categories}\n}}\n')
    )
    write_text(out, listed('[\n', lines, '\n]\n'))


def write_by_image(records: Iterable[Record], subject: Subject, out: Path) -> None:
    """Write a file of one entry an image."""
    head = f'{{"classes": {json_text(list(subject.classes))},\n"images": [\n'
    write_text(out, listed(head, (record.content for record in records), '\n]\n}\n'))


def listed(head: str, lines: Iterable[str], tail: str) -> Iterator[str]:
    """The text of a JSON list, a line at a time."""
    yield head
    for index, line in enumerate(lines):
        yield f',\n{line}' if index else line
    yield tail


# ---- numbers --------------------------------------------------------------------------------------------


def array(values: Any) -> np.ndarray:
    """A tensor of any device, or whatever NumPy takes, as an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, 'detach') else values)


def exact(values: Any) -> list[float]:
    """Single-precision numbers with the fewest digits that tell them apart, so that their order stays."""
    return [float(text) for text in array(values).astype(np.float32).astype(str)]


def pixels(values: Any) -> list[Any]:
    """Coordinates, to a ten-thousandth of a pixel."""
    rounded: list[Any] = np.round(array(values).astype(np.float64), 4).tolist()
    return rounded


def corner_and_size(boxes: Any) -> list[list[float]]:
    """Boxes (N, 4) from two corners to COCO's left, top, width and height."""
    corners = array(boxes).astype(np.float64).reshape(-1, 4)
    return pixels(np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]))


def _plain(value: Any) -> Any:
    """An id as the text or number that it is."""
    if isinstance(value, list | tuple):
        return tuple(_plain(part) for part in value)
    return value.item() if hasattr(value, 'item') else value
