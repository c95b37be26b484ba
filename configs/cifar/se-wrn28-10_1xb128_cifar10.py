# SE-WRN-28-10 on CIFAR-10.
# The paper says "the standard protocol" and no more: the plain net's recipe. The norms around the stem are its
# authors'.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar10_bs128.py',
    '../_base_/schedules/cifar_wide_200e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        type='inimg_mm.WideResNet',
        depth=28,
        widen_factor=10,
        input_norm=True,
        stem_norm=True,
        attention=dict(type='SE', bias=False),
    ),
    head=dict(in_channels=640),
)
