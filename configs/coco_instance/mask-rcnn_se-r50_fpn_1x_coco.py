# Mask R-CNN with SE-ResNet-50 and FPN on COCO, 1x.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/backbones/coco_se-r50.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
