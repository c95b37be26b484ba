# PyramidNet-110, alpha 270, on CIFAR-10.
# As in its paper: 300 epochs from a rate of 0.1.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar10_bs128.py',
    '../_base_/schedules/cifar_pyramid_300e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(type='inimg_mm.PyramidNet', depth=110, alpha=270),
    head=dict(in_channels=286),
)
