# Mask R-CNN with a half-width Inner-Imaging-ResNet-18 (D+A+F), from scratch on the demo digits.
_base_ = [
    '../_base_/models/small_faster-rcnn.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/datasets/digits_coco_instance.py',
    '../_base_/schedules/adamw_cosine_5e.py',
]
model = dict(
    type='MaskRCNN',
    backbone=dict(
        type='inimg_mm.InnerImagingResNet',
        attention=dict(type='InnerImaging', streams=2, filters=((1, 1), (2, 1), (3, 3)), fold=16),
    ),
    roi_head=dict(
        mask_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=64,
            featmap_strides=[4, 8, 16, 32],
        ),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=2,
            in_channels=64,
            conv_out_channels=64,
            num_classes=10,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(rcnn=dict(mask_size=28)),
    test_cfg=dict(rcnn=dict(mask_thr_binary=0.5)),
)
train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=1)
val_cfg = dict()
test_cfg = dict()
randomness = dict(seed=0)
