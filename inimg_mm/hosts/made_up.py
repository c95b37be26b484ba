"""Data sets of images that nobody took, in place of a config's own: its pipelines run on them as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from inimg_mm.config_tree import Node, defaults_of, nodes, type_name

Info = dict[str, Any]
ITEMS = 8
"""Items of each data set: mosaics want four, a triplet sampler eight persons."""
IMAGES = 3
"""Different images: neighbours, and a batch's first and second half, differ."""
SIZE = (960, 400)
"""Width and height of the images: scaled as usual they are large, and less to compute than a photograph."""
BOXES = np.array([[0.1, 0.2, 0.45, 0.8], [0.5, 0.1, 0.9, 0.6], [0.3, 0.3, 0.7, 0.9]])
"""Objects of each image, as shares of it: left, top, right, bottom."""


class Scene:
    """A made-up image in a folder, and what is annotated in it.

    Args:
        folder: Where files are written.
        classes: How many classes there are; an image shows several.
        channels: Of the image file: 1, 3 or 4.
        seed: Of everything random.
    """

    def __init__(self, folder: Path, classes: int, channels: int = 3, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.classes = max(classes, 1)
        self.width, self.height = SIZE
        shape = (self.height, self.width)
        self.image, self.labels = str(folder / f'image_{seed}.png'), str(folder / f'labels_{seed}.png')
        if not Path(self.image).exists():
            coarse = rng.integers(0, 256, (self.height // 8, self.width // 8, channels), np.uint8)
            cv2.imwrite(self.image, cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC))
            spots = rng.integers(0, self.classes, (self.height // 16, self.width // 16)).astype(np.uint8)
            cv2.imwrite(self.labels, cv2.resize(spots, SIZE, interpolation=cv2.INTER_NEAREST))
        self.boxes = (BOXES * [*SIZE, *SIZE]).round()
        self.shape, self.rng = shape, rng

    def detection(self) -> Info:
        """Of mmdet: boxes, outlines, and a map of classes."""
        instances = [
            dict(
                bbox=[left, top, right, bottom],
                bbox_label=int(self.rng.integers(self.classes)),
                ignore_flag=0,
                instance_id=index,
                mask=[[left, top, right, top, right, bottom, left, bottom]],
            )
            for index, (left, top, right, bottom) in enumerate(self.boxes.tolist())
        ]
        return dict(
            img_path=self.image,
            img_id=0,
            height=self.height,
            width=self.width,
            instances=instances,
            seg_map_path=self.labels,
        )

    def panoptic(self, things: int, stuff: int) -> Info:
        """Of mmdet's panoptic models: the same objects as parts of an image of identities."""
        info, ids = self.detection(), np.zeros((self.height, self.width, 3), np.uint8)
        parts = [dict(id=len(BOXES) + 1, category=things if stuff else 255, is_thing=0)]
        ids[..., 2] = len(BOXES) + 1  # the red of BGR: the lowest digit
        for number, instance in enumerate(info['instances'], 1):
            left, top, right, bottom = map(int, instance['bbox'])
            ids[top:bottom, left:right, 2] = number
            parts.append(dict(id=number, category=instance['bbox_label'], is_thing=1))
        path = self.image.replace('image', 'panoptic')
        cv2.imwrite(path, ids)
        return info | dict(seg_map_path=path, segments_info=parts[1:] + parts[:1])

    def proposals(self, number: int = 60) -> dict[str, np.ndarray]:
        """Of a detector without a first stage: boxes near the objects."""
        near = np.repeat(self.boxes, number // len(self.boxes), axis=0)
        near = np.clip(near + self.rng.uniform(-20, 20, near.shape), 0, [*SIZE, *SIZE])
        return dict(bboxes=near.astype(np.float32), scores=np.linspace(1, 0, len(near), dtype=np.float32))

    def video(self, frames: int = 4) -> Info:
        """Of mmdet's trackers: the same objects in every frame."""
        images = [{**self.detection(), 'frame_id': index, 'video_id': 0} for index in range(frames)]
        return dict(video_id=0, video_length=frames, images=images)

    def person(self, number: int) -> Info:
        """Of mmdet's re-identification: one person an image."""
        return dict(img_path=self.image, gt_label=np.array(number % self.classes, dtype=np.int64))

    def classification(self, several: bool) -> Info:
        """Of mmpretrain: a class, or a list of them."""
        label = int(self.rng.integers(self.classes))
        return dict(img_path=self.image, gt_label=[label] if several else label)

    def segmentation(self, reduce_zero_label: bool) -> Info:
        """Of mmseg: a map of classes."""
        return dict(
            img_path=self.image,
            seg_map_path=self.labels,
            label_map=None,
            reduce_zero_label=reduce_zero_label,
            seg_fields=[],
        )

    def poses(self, joints: int, whole_images: bool) -> Info:
        """Of mmpose: one object's joints in its box; of a bottom-up model, those of two objects."""
        number = 2 if whole_images else 1
        boxes = self.boxes[:number].astype(np.float32)
        points = self.rng.uniform(0.1, 0.9, (number, joints, 2)).astype(np.float32)
        points = boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])
        info = dict(
            img_id=0,
            img_path=self.image,
            bbox=boxes,
            bbox_score=np.ones(number, np.float32),
            num_keypoints=joints,
            keypoints=points.astype(np.float32),
            keypoints_visible=np.ones((number, joints), np.float32),
            area=np.full(number, 1e4, np.float32),
            category_id=np.ones(number, dtype=int),
            iscrowd=0,
            id=0,
            segmentation=None,
            raw_ann_info=None,
        )
        if whole_images:
            info.update(
                num_keypoints=[joints] * number,
                iscrowd=[0] * number,
                id=list(range(number)),
                segmentation=[None] * number,
                raw_ann_info=[None] * number,
                invalid_segs=[],
            )
        return info

    def hands(self, joints: int) -> Info:
        """Of InterHand2.6M: two hands with depths."""
        info = self.poses(joints, whole_images=False)
        depths = self.rng.uniform(-20, 20, (1, joints, 1)).astype(np.float32)
        points = np.concatenate([info['keypoints'], depths], axis=2)
        return info | dict(
            rotation=0,
            keypoints=points,
            keypoints_cam=points,
            hand_type=np.ones((1, 2), np.float32),
            hand_type_valid=np.ones(1),
            rel_root_depth=np.float32(10),
            rel_root_valid=np.float32(1),
            abs_depth=[500.0, 510.0],
            focal=np.array([1500.0, 1500.0], np.float32),
            principal_pt=np.array([480.0, 200.0], np.float32),
        )


def made_up(node: Node, host: str, scene: Callable[[int, int], Scene], classes: int, stuff: int = 0) -> Node:
    """A data set's config with made-up items in place of its files.

    Its class, options and pipeline stay; only what reads files to list the items does not run.

    Args:
        node: Config of an innermost data set.
        host: The host, whose forms the items have.
        scene: Makes the scene of an item, given its number and how many labels its map has.
        classes: How many classes the heads tell apart.
        stuff: How many classes without objects a panoptic model has besides.
    """
    with DATASETS.switch_scope_and_registry(host) as registry:
        own = registry.get(node['type']) if isinstance(node['type'], str) else node['type']
    own = own if isinstance(own, type) and issubclass(own, BaseDataset) else BaseDataset
    options = {**defaults_of(own), **node}

    class MadeUp(own):  # type: ignore[misc, valid-type]
        """The config's own data set, of made-up items."""

        def __init__(self, **given: Any) -> None:
            for name, value in options.items():
                if not isinstance(getattr(type(self), name, None), property):
                    setattr(self, name, value)
            self.proposal_file = None
            BaseDataset.__init__(
                self,
                metainfo=node.get('metainfo'),
                pipeline=list(node.get('pipeline') or []),
                serialize_data=False,
            )

        full_init = BaseDataset.full_init

        def _join_prefix(self) -> None:
            pass

        def filter_data(self) -> list[Info]:
            return self.data_list

        def load_data_list(self) -> list[Info]:
            items = [self._item(number) for number in range(ITEMS)]
            if hasattr(self, '_parse_ann_info'):  # of re-identification: who is on which image
                self._parse_ann_info(items)
            return items

        def _item(self, number: int) -> Info:
            shift = bool(host == 'mmseg' and getattr(self, 'reduce_zero_label', False))
            drawn = scene(number % IMAGES, classes + shift)
            if host == 'mmpose':
                joints = self._metainfo.get('num_keypoints', 1)
                if type_name(node) == 'InterHand3DDataset':
                    return drawn.hands(joints)
                return drawn.poses(joints, options.get('data_mode') == 'bottomup')
            if host == 'mmpretrain':
                return drawn.classification('MultiLabel' in own.__name__ or 'VOC' in own.__name__)
            if host == 'mmseg':
                return drawn.segmentation(shift)
            if 'triplet_sampler' in options:
                return drawn.person(number)
            if hasattr(own, 'get_len_per_video'):
                return drawn.video()
            loads = {type_name(transform) for transform in nodes(node.get('pipeline'))}
            if any(name.startswith('LoadPanoptic') for name in loads):
                return drawn.panoptic(classes, stuff)
            given = dict(proposals=drawn.proposals()) if 'LoadProposals' in loads else {}
            return drawn.detection() | given

        def get_cat_ids(self, idx: int) -> list[int]:
            return [idx % max(classes, 1)]

    return dict(type=MadeUp)


def image_channels(model: Any) -> int:
    """How many channels the first backbone of a config reads, if an image file can have so many; else 3."""
    wanted = [node['in_channels'] for node in nodes(model) if 'depth' in node and 'in_channels' in node]
    return wanted[0] if wanted and wanted[0] in (1, 3, 4) else 3
