# SCNet-50 v1d on ImageNet. Its authors give no recipe: "bag of tricks", with label smoothing and mixup.
_base_ = [
    'mmpretrain::_base_/models/resnet50_label_smooth.py',
    '../_base_/datasets/imagenet_bs32_tricks.py',
    '../_base_/schedules/imagenet_bs256_tricks_200e.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='inimg_mm.SCNet',
        depth=50,
        out_indices=(3,),
        deep_stem=True,
        avg_down=True,
        avd=True,
    ),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)),
)
