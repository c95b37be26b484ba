# RetinaNet with CMPE-SE-ResNet-50 (double FC) and FPN on COCO, 2x, warm-started.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py',
    '../_base_/backbones/coco_cmpese-r50-double-fc.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
