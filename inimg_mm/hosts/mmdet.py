"""mmdet: boxes and masks."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.config import Config

from inimg_mm.drawing import Instance

from .inferencer import Host, Sample


class Detection(Host):
    """mmdet: boxes and masks."""

    scope = 'mmdet'
    needs_loader = True

    def build(self, cfg: Config, weights: str, device: str) -> Any:
        """Build the inferencer."""
        from mmdet.apis import DetInferencer

        # a palette given here is the one that is not looked for in the config's data set
        inferencer = DetInferencer(cfg, weights, device, palette='random', show_progress=False)
        inferencer.model.dataset_meta.update(self.meta)
        return inferencer

    def groups(self, items: list[Any]) -> Iterator[list[Any]]:
        """One batch: mmdet pads."""
        yield items

    def drawn(self, picture: np.ndarray, sample: Sample, score_thr: float) -> np.ndarray:
        """Draw on a picture."""
        return self.inferencer.visualize([picture], [sample], return_vis=True, pred_score_thr=score_thr)[0]


def _detection_truth(info: dict[str, Any], names: Sequence[str]) -> list[Instance]:
    return [
        Instance(
            label=instance['bbox_label'],
            name=names[instance['bbox_label']],
            box=instance['bbox'],
            mask=_decode_mask(instance.get('mask'), info['height'], info['width']),
        )
        for instance in info['instances']
        if not instance['ignore_flag']
    ]


def _detection_predicted(output: Any, names: Sequence[str]) -> list[Instance]:
    found = output.pred_instances.cpu().numpy()
    masks = found.get('masks', [None] * len(found.labels))
    return [
        Instance(int(label), names[label], float(score), box.tolist(), mask)
        for label, score, box, mask in zip(found.labels, found.scores, found.bboxes, masks, strict=True)
    ]


def _decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray | None:
    """COCO's polygons or run lengths as a bool array."""
    if not segmentation:
        return None
    from pycocotools import mask as mask_utils

    if isinstance(segmentation, list):
        segmentation = mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation['counts'], list):
        segmentation = mask_utils.frPyObjects(segmentation, height, width)
    return mask_utils.decode(segmentation).astype(bool)
