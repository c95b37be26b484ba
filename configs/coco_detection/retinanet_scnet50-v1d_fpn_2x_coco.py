# RetinaNet with SCNet-50 v1d and FPN on COCO, 2x.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py',
    '../_base_/backbones/coco_scnet50-v1d.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
