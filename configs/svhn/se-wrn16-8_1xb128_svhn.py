# SE-WRN-16-8 on SVHN.
# The paper says that CMPE-SE is better than this on SVHN, and not what it trained: the plain net's recipe.
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
        input_norm=True,
        stem_norm=True,
        attention=dict(type='SE', bias=False),
    ),
    head=dict(in_channels=512),
)
