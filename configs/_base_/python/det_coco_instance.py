# mmdet's coco_instance.py in pure Python: det_coco_detection.py with masks.
from mmengine.config import read_base

from mmdet.datasets.transforms import LoadAnnotations

with read_base():
    from .det_coco_detection import *

train_pipeline[1] = dict(type=LoadAnnotations, with_bbox=True, with_mask=True)
test_pipeline[2] = dict(type=LoadAnnotations, with_bbox=True, with_mask=True)
train_dataloader.update(dataset=dict(pipeline=train_pipeline))
val_dataloader.update(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator.update(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
