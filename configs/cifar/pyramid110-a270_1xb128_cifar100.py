# PyramidNet-110, alpha 270, on CIFAR-100.
# As in its paper: 300 epochs from a rate of 0.5.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar100_bs128.py',
    '../_base_/schedules/cifar_pyramid_300e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(type='inimg_mm.PyramidNet', depth=110, alpha=270),
    head=dict(in_channels=286, num_classes=100),
)
optim_wrapper = dict(optimizer=dict(lr=0.5))
