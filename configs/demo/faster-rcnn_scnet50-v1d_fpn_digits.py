# Faster R-CNN with a quarter-width SCNet-50 v1d, from scratch on the demo digits.
_base_ = 'faster-rcnn_cmpese-r18_fpn_digits.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='inimg_mm.SCNet',
        depth=50,
        base_channels=16,
        stem_channels=32,
        deep_stem=True,
        avg_down=True,
        avd=True,
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
