# Top-down heatmap keypoints with a quarter-width SCNet-50, from scratch on the demo digits.
_base_ = 'td-hm_se-r18_digits-96x96.py'
model = dict(
    backbone=dict(_delete_=True, type='inimg_mm.SCNet', depth=50, base_channels=16),
    head=dict(in_channels=512),
)
