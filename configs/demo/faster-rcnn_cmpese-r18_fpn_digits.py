# Faster R-CNN with a half-width CMPE-SE-ResNet-18 (1x1 pair view), from scratch on the demo digits.
_base_ = [
    '../_base_/models/small_faster-rcnn.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/datasets/digits_coco.py',
    '../_base_/schedules/adamw_cosine_5e.py',
]
model = dict(backbone=dict(type='inimg_mm.CMPESEResNet', attention=dict(type='CMPESE', view='pair_1x1')))
train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=1)
val_cfg = dict()
test_cfg = dict()
randomness = dict(seed=0)
