# PyramidNet-101, alpha 360, on ImageNet.
# The paper's settings on ImageNet are not known to us: the host's 100 epochs of SGD.
_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'
model = dict(
    backbone=dict(_delete_=True, type='inimg_mm.PyramidNet', depth=101, alpha=360, out_indices=(3,)),
    head=dict(in_channels=1696),
)
