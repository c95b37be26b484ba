# mmseg's PSPNet at stride 8 for the 21 classes of VOC, with its auxiliary head; a config adds the backbone.
_base_ = 'voc_fcn-d8.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='PSPHead',
        in_channels=2048,
        in_index=3,
        channels=512,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=_base_.norm_cfg,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
