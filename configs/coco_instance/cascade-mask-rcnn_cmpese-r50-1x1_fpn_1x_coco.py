# Cascade Mask R-CNN with CMPE-SE-ResNet-50 (1x1 pair view) and FPN on COCO, 1x, warm-started.
_base_ = [
    'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/backbones/coco_cmpese-r50-1x1.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
