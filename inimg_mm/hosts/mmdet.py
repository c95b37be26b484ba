"""mmdet: boxes and masks."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.config import Config

from inimg_mm.drawing import Instance

from .host import Host, Size, size_of_pipeline
from .inferencer import Inferencer, Sample

COCO_SCALE, COCO_SIZE = (1333, 800), (1280, 800)


class Detection(Inferencer):
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


def truth(info: dict[str, Any], names: Sequence[str]) -> list[Instance]:
    """The annotated objects, see :class:`.Host`."""
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


def predicted(output: Any, names: Sequence[str]) -> list[Instance]:
    """The predicted objects, see :class:`.Host`."""
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


def drawing(folder: str) -> dict[str, Any]:
    """The lines of a config by which a test draws its pictures."""
    hook = dict(type='DetVisualizationHook', draw=True, test_out_dir=folder)
    return {'default_hooks.visualization': hook}


def input_size(cfg: Config) -> Size:
    """The scale of the test pipeline; COCO's 1333 x 800 is taken as 1280 x 800, as mmdet does."""
    width, height = size_of_pipeline(cfg)
    return COCO_SIZE if (width, height) == COCO_SCALE else (width, height)


HOST = Host(Detection, drawing, input_size, truth, predicted, sifted=True)


def panoptic_loading() -> type:
    """mmdet's loading of panoptic maps without panopticapi, whose one line it uses."""
    from mmdet.datasets.transforms import LoadAnnotations, LoadPanopticAnnotations

    class LoadPanopticMaps(LoadPanopticAnnotations):
        def __init__(self, backend_args: Any = None, **options: Any) -> None:
            options = dict(with_mask=True, with_seg=True, with_keypoints=False) | options
            LoadAnnotations.__init__(self, backend_args=None, **options)

        @staticmethod
        def rgb2id(colours: np.ndarray) -> np.ndarray:
            """The identity of each pixel: a number of three digits to the base 256, the lowest in red."""
            return colours.astype(np.int32) @ (1, 256, 256**2)

    return LoadPanopticMaps
