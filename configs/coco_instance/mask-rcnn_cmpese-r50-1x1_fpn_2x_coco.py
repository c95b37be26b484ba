# Mask R-CNN with CMPE-SE-ResNet-50 (1x1 pair view) and FPN on COCO, 2x, warm-started.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py',
    '../_base_/backbones/coco_cmpese-r50-1x1.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
