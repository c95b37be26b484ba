# PreAct-ResNet-110 on CIFAR-10.
# As in its paper: 64k steps, which are 164 epochs, from a rate of 0.1.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar10_bs128.py',
    '../_base_/schedules/cifar_preact_164e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(type='inimg_mm.PreActResNet', depth=110),
    head=dict(in_channels=64),
)
