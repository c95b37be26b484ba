# PreAct-ResNet-50 on ImageNet.
# Its paper trains deeper nets there: the host's 100 epochs of SGD.
_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'
model = dict(backbone=dict(_delete_=True, type='inimg_mm.PreActResNet', depth=50, out_indices=(3,)))
