"""Keypoints: COCO's keypoint results, scored as mmpose's CocoMetric scores them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inimg_mm.errors import UsageError
from inimg_mm.output_files import json_text

from .records import (
    Image,
    Record,
    Sample,
    Scoring,
    Subject,
    array,
    corner_and_size,
    exact,
    pixels,
    write_results,
)

Object = dict[str, Any]


def fits(sample: Sample) -> bool:
    """Whether there are keypoints."""
    return 'keypoints' in sample.get('pred_instances', ())


def keep(sample: Sample, image: Image, subject: Subject, out: Path) -> list[Object]:
    """The objects; they are scored when all of an image are known."""
    found, given = sample.pred_instances, sample.get('gt_instances', {})
    keypoints = np.dstack([array(found.keypoints)[..., :2], array(found.keypoint_scores)])
    box_scores = _of_each(keypoints, found.get('bbox_scores'), given.get('bbox_scores'), 1.0)
    extent = np.ptp(keypoints[..., :2], axis=1)
    areas = np.prod(_of_each(keypoints, given.get('bbox_scales'), extent), axis=1)
    boxes = corner_and_size(found.bboxes) if 'bboxes' in found else None
    category = int(np.ravel(sample.get('category_id', 1))[0])
    return [
        dict(
            category_id=category,
            keypoints=points,
            box_score=float(box_scores[index]),
            area=areas[index],
            **(dict(bbox=boxes[index]) if boxes else {}),
        )
        for index, points in enumerate(keypoints)
    ]


def write(records: Sequence[Record], subject: Subject, out: Path) -> None:
    """Write all objects of all images."""
    write_results(_lines(records, subject.scoring), records, subject, out)


def _of_each(keypoints: np.ndarray, *choices: Any) -> np.ndarray:
    """The first that has a value for each object; a number has it for all."""
    for values in choices:
        if isinstance(values, float):
            return np.full(len(keypoints), values)
        if values is not None and len(values) == len(keypoints):
            return array(values)
    raise UsageError('no value for each object')


def _lines(records: Sequence[Record], scoring: Scoring) -> Iterator[str]:
    by_image: dict[Image, list[Record]] = {}
    for record in records:
        by_image.setdefault(record.image, []).append(record)
    for image, group in by_image.items():
        if all(isinstance(record.part, int) for record in group):
            group.sort(key=lambda record: record.part)
        objects = [found for record in group for found in record.content]
        for found in _scored(objects, scoring):
            points = zip(pixels(found['keypoints'][:, :2]), exact(found['keypoints'][:, 2]), strict=True)
            line = dict(
                image_id=image.id,
                category_id=found['category_id'],
                keypoints=[number for (x, y), score in points for number in (x, y, score)],
                score=float(found['score']),
            )
            yield json_text(line | {key: found[key] for key in ('bbox',) if key in found})


def _scored(objects: list[Object], scoring: Scoring) -> list[Object]:
    """The objects of an image with their scores, without those too similar to a better one."""
    objects = [dict(found, score=_score(found, scoring)) for found in objects]
    if scoring.nms_mode == 'none':
        return objects
    from mmpose.evaluation import functional

    suppress = functional.oks_nms if scoring.nms_mode == 'oks_nms' else functional.soft_oks_nms
    return [objects[index] for index in suppress(objects, scoring.nms_thr, sigmas=scoring.sigmas)]


def _score(found: Object, scoring: Scoring) -> float:
    box, points = found['box_score'], found['keypoints'][:, 2]
    if scoring.score_mode == 'bbox':
        return box
    if scoring.score_mode == 'keypoint':
        return float(np.mean(points))
    if scoring.score_mode == 'bbox_rle':
        return float(box + np.mean(points) + np.max(points))
    certain = points[points > scoring.keypoint_score_thr]
    return float(box * np.mean(certain)) if len(certain) else 0.0
