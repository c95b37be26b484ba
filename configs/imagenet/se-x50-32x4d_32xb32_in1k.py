# SE-ResNeXt-50 32x4d on ImageNet.
# The paper's 100 epochs at batch 1024; with less than 32 GPUs, --auto-scale-lr scales the learning rate.
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    '../_base_/schedules/imagenet_bs1024.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        _delete_=True, type='inimg_mm.SEResNeXt', depth=50, out_indices=(3,), groups=32, base_width=4
    )
)
