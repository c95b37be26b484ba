# Cascade Mask R-CNN with SCNet-50 and FPN on COCO, 1x.
_base_ = [
    'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/backbones/coco_scnet50.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
