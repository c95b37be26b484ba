# ResNet-50 on ImageNet, the plain net of SENet's ablations: 23.30/6.55 % top-1/top-5 error.
# 270 epochs at batch 1024, labels smoothed; with less than 32 GPUs, --auto-scale-lr scales the learning rate.
_base_ = [
    'mmpretrain::_base_/models/resnet50_label_smooth.py',
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    '../_base_/schedules/imagenet_bs1024_270e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(backbone=dict(_delete_=True, type='inimg_mm.ResNet', depth=50, out_indices=(3,)))
paper_top1 = 76.7
