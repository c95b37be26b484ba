# Inner-Imaging-WRN-28-10 (D+A+F) on CIFAR-100.
# The paper's settings on CIFAR are not known to us: the plain net's recipe.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar100_bs128.py',
    '../_base_/schedules/cifar_wide_200e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(type='inimg_mm.WideResNet', depth=28, widen_factor=10, attention=dict(type='InnerImaging')),
    head=dict(in_channels=640, num_classes=100),
)
