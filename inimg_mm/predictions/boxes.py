"""Boxes and masks: COCO's detection results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inimg_mm.output_files import json_text

from .records import Image, Record, Sample, Subject, array, corner_and_size, exact, write_results


def fits(sample: Sample) -> bool:
    """Whether there are boxes."""
    return 'bboxes' in sample.get('pred_instances', ())


def keep(sample: Sample, image: Image, subject: Subject, out: Path) -> str:
    """One line an object. ``mask_score`` stands beside ``score`` where a model scores its masks apart."""
    found = sample.pred_instances
    labels = array(found.labels).tolist()
    columns: dict[str, list[Any]] = dict(
        category_id=[subject.category_id(label) for label in labels],
        bbox=corner_and_size(found.bboxes),
        score=exact(found.scores),
    )
    if 'masks' in found:
        columns['segmentation'] = _run_lengths(found.masks)
    if 'mask_scores' in found:
        columns['mask_score'] = exact(found.mask_scores)
    rows = zip(*columns.values(), strict=True)
    return ',\n'.join(
        json_text(dict(image_id=image.id, **dict(zip(columns, row, strict=True)))) for row in rows
    )


def write(records: Sequence[Record], subject: Subject, out: Path) -> None:
    """Write all objects of all images."""
    write_results((record.content for record in records if record.content), records, subject, out)


def _run_lengths(masks: Any) -> list[dict[str, Any]]:
    """COCO's compressed run lengths of masks (N, H, W), or of what the model has encoded already."""
    from pycocotools import mask as coco_masks

    if not isinstance(masks, list):
        masks = [coco_masks.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in array(masks)]
    return [
        dict(mask, counts=mask['counts'].decode()) if isinstance(mask['counts'], bytes) else mask
        for mask in masks
    ]
