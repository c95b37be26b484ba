# Inner-Imaging-PreAct-ResNet-164 (D+A+F) on CIFAR-10.
# The paper's settings on CIFAR are not known to us: the plain net's recipe.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar10_bs128.py',
    '../_base_/schedules/cifar_preact_164e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(type='inimg_mm.PreActResNet', depth=164, attention=dict(type='InnerImaging')),
    head=dict(in_channels=256),
)
