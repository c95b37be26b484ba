# WRN-16-8 on SVHN.
# As in its paper: 160 epochs on training and extra images, dropout 0.4.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/svhn_bs128.py',
    '../_base_/schedules/svhn_wide_160e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(type='inimg_mm.WideResNet', depth=16, widen_factor=8, dropout=0.4),
    head=dict(in_channels=512),
)
