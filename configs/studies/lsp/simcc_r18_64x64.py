# SimCC keypoints with a half-width ResNet-18 at stride 16, from scratch on the Leeds Sports Poses; gates.yml puts gates in.
# (Heatmaps of 16x16 and 24x24, tried first, learnt nothing in as short a training.)
_base_ = '../../demo/td-hm_se-r18_digits-96x96.py'
from inimg_mm.datasets import own_data

codec = dict(type='SimCCLabel', input_size=(64, 64), sigma=2.0, simcc_split_ratio=2.0)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal', prob=0.5),
    dict(type='RandomBBoxTransform', rotate_factor=30, scale_factor=(0.8, 1.2)),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
own_data(
    _base_,
    'data/lsp',
    image_scale=codec['input_size'],
    metrics=('ap', 'pck'),
    # CrowdPose's, which has the same joints: ankles, knees, hips, wrists, elbows, shoulders, neck, top of the head
    sigmas=(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079),
)
epochs = 14
model = dict(
    backbone=dict(
        type='inimg_mm.ResNet', num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)
    ),
    head=dict(
        _delete_=True,
        type='SimCCHead',
        in_channels=128,
        out_channels=14,
        input_size=codec['input_size'],
        in_featuremap_size=(4, 4),
        simcc_split_ratio=codec['simcc_split_ratio'],
        loss=dict(type='KLDiscretLoss', use_target_weight=True),
        decoder=codec,
    ),
)
train_dataloader = dict(batch_size=16, num_workers=0, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=0)
test_dataloader = val_dataloader
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, end=epochs, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=epochs, val_interval=7)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
