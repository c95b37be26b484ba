# The skip form of FCN for the 21 classes of VOC; a config adds the backbone and the number of skips.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size_divisor=1,  # the data set pads its crops
    ),
    decode_head=dict(
        type='inimg_mm.FCNSkipHead',
        in_channels=[256, 512, 1024, 2048],
        dropout_ratio=0.1,
        num_classes=21,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
