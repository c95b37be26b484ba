# RetinaNet with Inner-Imaging-ResNet-50 (D+A+F) and FPN on COCO, 1x, warm-started.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    '../_base_/backbones/coco_ini-r50.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
