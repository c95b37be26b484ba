# CMPE-SE-ResNet-50 (folded 3x3) on ImageNet.
# The paper's settings on ImageNet are not known to us: the host's 100 epochs of SGD.
_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='inimg_mm.CMPESEResNet',
        depth=50,
        out_indices=(3,),
        attention=dict(type='CMPESE', view='folded_3x3'),
    )
)
