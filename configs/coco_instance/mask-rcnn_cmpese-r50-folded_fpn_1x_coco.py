# Mask R-CNN with CMPE-SE-ResNet-50 (folded 3x3) and FPN on COCO, 1x, warm-started.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/backbones/coco_cmpese-r50-folded.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
