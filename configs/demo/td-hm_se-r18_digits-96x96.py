# Top-down heatmap keypoints with a half-width SE-ResNet-18, from scratch on the demo digits.
_base_ = [
    'mmpose::_base_/default_runtime.py',
    '../_base_/datasets/digits_keypoint.py',
    '../_base_/schedules/adamw_cosine_5e.py',
]
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(type='inimg_mm.SEResNet', depth=18, base_channels=32),
    head=dict(
        type='HeatmapHead',
        in_channels=256,
        out_channels=5,
        deconv_out_channels=(128, 64, 64),
        deconv_kernel_sizes=(4, 4, 4),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=_base_.codec,
    ),
    test_cfg=dict(flip_test=False),
)
train_cfg = dict(by_epoch=True, max_epochs=15, val_interval=5)
val_cfg = dict()
test_cfg = dict()
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=15, by_epoch=True, end=15, convert_to_iter_based=True),
]
randomness = dict(seed=0)
