"""mmpose's inferencer: keypoints, in boxes or in the whole image."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.structures import InstanceData

from inimg_mm.config_tree import Node, nodes
from inimg_mm.drawing import Instance
from inimg_mm.errors import UsageError
from inimg_mm.predictions import Scoring, Subject

from .host import Host, Size
from .inferencer import Inferencer, Loaded, Sample

MODES = ('topdown', 'bottomup')

Finder = Callable[[Path, dict[str, Any]], np.ndarray]
"""The boxes of an image, given its path and what its loader gave: left, top, right, bottom, score."""


class Keypoints(Inferencer):
    """mmpose: keypoints."""

    scope = 'mmpose'
    boxes: Finder
    """Where a top-down model looks: at first the whole image."""
    top_down: bool

    def build(self, cfg: Config, weights: str, device: str) -> Any:
        """Build the inferencer."""
        from mmpose.apis import Pose2DInferencer

        dataset = cfg.test_dataloader.dataset
        cfg.data_mode = mode = dataset.get('data_mode', cfg.get('data_mode', 'topdown'))
        cfg.dataset_type = dataset.type
        if mode not in MODES:
            raise UsageError(f'keypoints are drawn of {" and ".join(MODES)} models, and not of {mode!r}')
        # without a detector, which mmpose would download
        inferencer = Pose2DInferencer(cfg, weights, device, det_model='whole_image')
        inferencer.update_model_visualizer_settings()
        self.top_down, self.boxes = mode == 'topdown', whole_image
        return inferencer

    def predict(self, images: Sequence[Loaded]) -> list[Sample]:
        """Predict on images: one data sample for each, of all objects."""
        if not self.top_down:
            return super().predict(images)
        return [self._predict_in_boxes(image) for image in images]

    def prepare(self, image: Loaded) -> Any:
        """Put an image through the rest of the test pipeline."""
        return self.inferencer.pipeline({**copy.copy(image), **self.inferencer.model.dataset_meta})

    def _predict_in_boxes(self, image: Loaded) -> Sample:
        """Predict on the boxes of an image, a batch of them at a time."""
        from mmpose.structures import PoseDataSample, merge_data_samples

        boxes = self.boxes(Path(image['img_path']), image)
        if not len(boxes):
            nothing = np.zeros((0, len(self.meta['keypoint_id2name']), 2))
            found = InstanceData(keypoints=nothing, keypoint_scores=nothing[..., 0])
            return PoseDataSample(pred_instances=found)
        samples = []
        with self.within():
            for start in range(0, len(boxes), self.batch_size):
                items = [
                    self.prepare({**image, 'bbox': box[None, :4], 'bbox_score': box[4:]})
                    for box in boxes[start : start + self.batch_size]
                ]
                data = self.inferencer.collate_fn(items)
                samples.extend(self.inferencer.forward(data, merge_results=False))
        return merge_data_samples(samples)

    def drawn(self, picture: np.ndarray, sample: Sample, score_thr: float) -> np.ndarray:
        """Draw on a picture."""
        if not len(sample.pred_instances):
            return picture
        size = min(picture.shape[:2])
        drawn = self.inferencer.visualize(
            [picture[..., ::-1]],
            [sample],
            return_vis=True,
            draw_bbox=True,
            kpt_thr=score_thr,
            radius=max(3, size // 160),
            thickness=max(1, size // 320),
        )
        return drawn[0]

    def subject(self) -> Subject:
        """What the predictions are about: one category, as COCO's person is."""
        names = self.meta['keypoint_id2name']
        category = dict(
            id=1,
            name=(self.meta.get('classes') or [self.meta['dataset_name']])[0],
            keypoints=[names[index] for index in range(len(names))],
            skeleton=[[int(start) + 1, int(end) + 1] for start, end in self.meta['skeleton_links']],
        )
        return Subject(categories=[category], scoring=Scoring(nms_mode='none'))


def whole_image(path: Path, image: dict[str, Any]) -> np.ndarray:
    """One box around everything."""
    height, width = image['img'].shape[:2]
    return np.array([[0, 0, width, height, 1]], dtype=np.float32)


def truth(info: dict[str, Any], names: Sequence[str]) -> list[Instance]:
    """The annotated objects, see :class:`.Host`."""
    visible = np.minimum(info['keypoints_visible'][0].reshape(-1, info['keypoints'].shape[1])[:1], 1)
    points = np.concatenate([info['keypoints'][0], visible.T], axis=1)
    return [Instance(0, '', box=info['bbox'][0].tolist(), keypoints=points)]


def predicted(output: Any, names: Sequence[str]) -> list[Instance]:
    """The predicted objects, see :class:`.Host`."""
    found = output.pred_instances
    boxes = output.gt_instances.bboxes
    return [
        Instance(0, '', box=box.tolist(), keypoints=np.concatenate([points, scores[:, None]], axis=1))
        for box, points, scores in zip(boxes, found.keypoints, found.keypoint_scores, strict=True)
    ]


def drawing(folder: str) -> dict[str, Any]:
    """The lines of a config by which a test draws its pictures."""
    hook = dict(type='PoseVisualizationHook', enable=True, out_dir=folder)
    return {'default_hooks.visualization': hook}


def codec(cfg: Config) -> Node:
    """The settings of a config's codec.

    Raises:
        UsageError: If the model has none with an input size.
    """
    for node in nodes([cfg.model, cfg.get('codec')]):
        if 'input_size' in node:
            return node
    raise UsageError('the keypoint model has no codec with an input_size')


def input_size(cfg: Config) -> Size:
    """The codec's."""
    width, height = codec(cfg)['input_size']
    return width, height


HOST = Host(Keypoints, drawing, input_size, truth, predicted)
