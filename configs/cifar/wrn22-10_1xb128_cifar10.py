# WRN-22-10 on CIFAR-10.
# As in its paper: 200 epochs with Nesterov's momentum from a rate of 0.1, without dropout.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar10_bs128.py',
    '../_base_/schedules/cifar_wide_200e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(type='inimg_mm.WideResNet', depth=22, widen_factor=10),
    head=dict(in_channels=640),
)
