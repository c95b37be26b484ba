# Inner-Imaging-WRN-16-8 (D+A+F) on SVHN.
# The paper's settings on SVHN are not known to us: the plain net's recipe.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/svhn_bs128.py',
    '../_base_/schedules/svhn_wide_160e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        type='inimg_mm.WideResNet',
        depth=16,
        widen_factor=8,
        dropout=0.4,
        attention=dict(type='InnerImaging'),
    ),
    head=dict(in_channels=512),
)
