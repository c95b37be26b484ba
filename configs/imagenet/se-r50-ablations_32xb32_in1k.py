# SE-ResNet-50 on ImageNet as in SENet's ablations: 22.28/6.03 % top-1/top-5 error. The README has the line that makes
# each of their rows of this.
_base_ = 'r50-ablations_32xb32_in1k.py'
model = dict(
    backbone=dict(
        attention=dict(
            type='SE',
            reduction=16,
            bias=False,
            squeeze='avg',
            excitation='sigmoid',
            position='standard',
            stages=None,
        )
    )
)
paper_top1 = 77.72
