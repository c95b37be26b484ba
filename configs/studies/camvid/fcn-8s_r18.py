# FCN-8s with a half-width ResNet-18, from scratch on CamVid's streets; gates.yml puts gates in.
_base_ = [
    '../../_base_/models/voc_fcn-skip.py',
    '../../_base_/datasets/voc12aug.py',
    '../../_base_/schedules/voc_20k.py',
    '../../_base_/runtimes/mmseg.py',
]
from inimg_mm.datasets import own_data

classes = (
    'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian', 'bicyclist',
)  # fmt: skip
own_data(_base_, 'data/camvid', classes=classes, image_scale=(240, 180))
steps = 480
model = dict(
    backbone=dict(type='inimg_mm.ResNet', depth=18, base_channels=32),
    decode_head=dict(skips=2, in_channels=[32, 64, 128, 256]),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=10)
)
train_dataloader = dict(batch_size=8, num_workers=0)
val_dataloader = dict(batch_size=4, num_workers=0)
test_dataloader = val_dataloader
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=steps, by_epoch=False, end=steps),
]
train_cfg = dict(max_iters=steps, val_interval=120)
default_hooks = dict(checkpoint=dict(interval=120, max_keep_ckpts=1))
