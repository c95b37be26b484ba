# A pre-activation ResNet of 20 layers (bottlenecks, as ResNet-164) on a fifth of CIFAR-10, a minute on one CPU core:
# images of 20 pixels, every stage halves them, a short training. The grids beside it vary it.
_base_ = [
    '../../_base_/models/cifar.py',
    '../../_base_/datasets/digits_classification.py',
    'mmpretrain::_base_/default_runtime.py',
]
from inimg_mm.datasets import own_data

own_data(_base_, 'data/cifar10_12k', image_scale=(20, 20), flip=0.5)
epochs = 2
model = dict(
    backbone=dict(type='inimg_mm.PreActResNet', depth=20, bottleneck=True, strides=(2, 2, 2)),
    head=dict(in_channels=256),
)
train_dataloader = dict(batch_size=64, num_workers=0)
val_dataloader = dict(batch_size=200, num_workers=0)
test_dataloader = val_dataloader
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, end=epochs, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=epochs)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
