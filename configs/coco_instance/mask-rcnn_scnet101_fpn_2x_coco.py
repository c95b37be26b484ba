# Mask R-CNN with SCNet-101 and FPN on COCO, 2x.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py',
    '../_base_/backbones/coco_scnet101.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
