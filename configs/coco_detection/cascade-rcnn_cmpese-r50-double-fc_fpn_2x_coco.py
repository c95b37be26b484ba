# Cascade R-CNN with CMPE-SE-ResNet-50 (double FC) and FPN on COCO, 2x, warm-started.
_base_ = [
    'mmdet::_base_/models/cascade-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/backbones/coco_cmpese-r50-double-fc.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
