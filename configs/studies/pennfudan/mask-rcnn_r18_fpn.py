# Mask R-CNN with a half-width ResNet-18, from scratch on Penn-Fudan's pedestrians; gates.yml puts gates in.
_base_ = '../../demo/mask-rcnn_ini-r18_fpn_digits.py'
from inimg_mm.datasets import own_data

own_data(_base_, 'data/pennfudan', image_scale=(224, 224), flip=0.5)
epochs = 16
model = dict(
    backbone=dict(type='inimg_mm.ResNet', attention=None),
    # a standing person is two to three times as tall as wide
    rpn_head=dict(anchor_generator=dict(ratios=[1.0, 2.0, 3.0])),
)
train_dataloader = dict(batch_size=4, num_workers=0)
val_dataloader = dict(batch_size=4, num_workers=0)
test_dataloader = val_dataloader
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, end=epochs, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=epochs, val_interval=8)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
