# Classification with a half-width SE-ResNet-18, from scratch on the demo digits.
_base_ = [
    'mmpretrain::_base_/models/resnet18.py',
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/datasets/digits_classification.py',
    '../_base_/schedules/adamw_cosine_5e.py',
]
model = dict(
    backbone=dict(_delete_=True, type='inimg_mm.SEResNet', depth=18, base_channels=32),
    head=dict(num_classes=10, in_channels=256, topk=(1,)),
)
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=4)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=12, by_epoch=True, end=12, convert_to_iter_based=True),
]
randomness = dict(seed=0)
