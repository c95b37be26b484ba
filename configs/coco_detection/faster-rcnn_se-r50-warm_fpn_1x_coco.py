# Faster R-CNN with SE-ResNet-50 and FPN on COCO, 1x, warm-started; the gates learn ten times as fast as the rest.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../_base_/backbones/coco_se-r50-warm.py',
]
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'.se_layer.': dict(lr_mult=10)}))
