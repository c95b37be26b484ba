"""Where a top-down keypoint model looks: the whole image, boxes from a file, or those of a detector."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from inimg_mm.errors import UsageError
from inimg_mm.host_facts import predicts
from inimg_mm.hosts.mmpose import Finder
from inimg_mm.predictions import images_file

PERSON = 'person'


@dataclass
class BoxSource:
    """Where boxes come from; the whole image is one box where nothing is given.

    Attributes:
        file: COCO detection results, with their images described beside them.
        detector: Config of an mmdet detector.
        checkpoint: Its checkpoint.
        score_thr: Boxes of a lower score are left out. Default: 0.3.
        overlap_thr: Of boxes that overlap more (IoU), whatever their classes, the best is left.
            Default: 0.3, as in mmpose.
        classes: Names of the classes whose boxes are taken. Default: 'person' where it is known, else all.
    """

    file: str | Path | None = None
    detector: Config | None = None
    checkpoint: str | None = None
    score_thr: float | None = None
    overlap_thr: float | None = None
    classes: Sequence[str] | None = None

    def check(self) -> None:
        """Raise a :class:`UsageError` if what is given does not go together."""
        if (self.detector is None) != (self.checkpoint is None):
            raise UsageError('--det-config and --det-checkpoint go together')
        if self.file is not None and self.detector is not None:
            raise UsageError('boxes come from --boxes or from --det-config, and not from both')
        if self.detector is not None and predicts(self.detector.default_scope) != 'boxes':
            raise UsageError(
                f'--det-config is a detector of mmdet, and not of {self.detector.default_scope!r}'
            )
        choices = (self.score_thr, self.overlap_thr, self.classes)
        if not self and any(choice is not None for choice in choices):
            raise UsageError('--box-thr, --box-nms and --box-classes choose among boxes, and there are none')

    def __bool__(self) -> bool:
        """Whether there are other boxes than the whole image."""
        return self.file is not None or self.detector is not None

    def labels(self, classes: Sequence[str]) -> set[int]:
        """Labels of the classes whose boxes are taken.

        Args:
            classes: All that there are.

        Raises:
            UsageError: If one is unknown.
        """
        wanted = self.classes or ([PERSON] if PERSON in classes else classes)
        for name in wanted:
            if name not in classes:
                raise UsageError(f'--box-classes has {name!r}; the boxes are of {list(classes)}')
        return {label for label, name in enumerate(classes) if name in wanted}

    def chosen(self, boxes: np.ndarray) -> np.ndarray:
        """Leave out boxes that are unsure, and those that a better one covers.

        Args:
            boxes: (N, 5): left, top, right, bottom, score.
        """
        from mmpose.evaluation.functional import nms

        boxes = boxes.reshape(-1, 5).astype(np.float32)
        boxes = boxes[boxes[:, 4] >= (0.3 if self.score_thr is None else self.score_thr)]
        return boxes[nms(boxes, 0.3 if self.overlap_thr is None else self.overlap_thr)]


def boxes_of_file(source: BoxSource, images: Sequence[Path]) -> Finder:
    """Read the boxes of images from COCO detection results.

    An image is recognised by its path, or by its name where only one in the file has that.

    Args:
        source: Names the file.
        images: Those that boxes are needed of.

    Raises:
        UsageError: If the file or its description of the images is missing, is something else, or does
            not know an image.
    """
    file = Path(str(source.file))
    results = _json(file, list, 'a list of COCO detection results')
    described = _json(
        images_file(file), dict, f'the description of the images of {file} that --predictions writes'
    )
    try:
        known = {os.path.abspath(image['file_name']): image['id'] for image in described['images']}
        categories = described['categories']
        names = [category['name'] for category in categories]
        labels = source.labels(names)
        taken = {category['id'] for label, category in enumerate(categories) if label in labels}
        found: dict[Any, list[list[float]]] = {}
        for line in results:
            if line['category_id'] in taken:
                x, y, width, height = line['bbox']
                box = [x, y, x + width, y + height, line.get('score', 1.0)]
                found.setdefault(line['image_id'], []).append(box)
    except (KeyError, TypeError) as error:
        raise UsageError(f'{file} is not a list of COCO detection results: {error!r}') from error
    ids = {image: _id_of(image, known, file) for image in images}
    return lambda path, image: source.chosen(np.array(found.get(ids[path], [])))


def _id_of(image: Path, known: dict[str, Any], file: Path) -> Any:
    if str(image) in known:
        return known[str(image)]
    named = [key for path, key in known.items() if Path(path).name == image.name]
    if len(named) != 1:
        how_many = 'several images of that name' if named else 'no such image'
        raise UsageError(f'{images_file(file)} has {how_many}: {image}')
    return named[0]


def _json(path: Path, kind: type, what: str) -> Any:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f'cannot read {path}, {what}: {error.strerror or error}') from error
    except ValueError as error:
        raise UsageError(f'{path} is not {what}: {error}') from error
    if not isinstance(content, kind):
        raise UsageError(f'{path} is not {what}')
    return content
