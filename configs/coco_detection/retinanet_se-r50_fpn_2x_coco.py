# RetinaNet with SE-ResNet-50 and FPN on COCO, 2x.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py',
    '../_base_/backbones/coco_se-r50.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
