# Cascade R-CNN with SCNet-50 and FPN on COCO, 2x.
_base_ = [
    'mmdet::_base_/models/cascade-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/backbones/coco_scnet50.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
