# CMPE-SE-PreAct-ResNet-164 (1x1 pair view) on CIFAR-100.
# The paper says "the standard protocol" and no more: the plain net's recipe. The norms around the stem are its
# authors'.
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar100_bs128.py',
    '../_base_/schedules/cifar_preact_164e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        type='inimg_mm.PreActResNet',
        depth=164,
        input_norm=True,
        attention=dict(type='CMPESE', view='pair_1x1'),
    ),
    head=dict(in_channels=256, num_classes=100),
)
