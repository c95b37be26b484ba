# CMPE-SE-WRN-28-10 (1x1 pair view) on CIFAR-10 with mixup: the best of its paper.
_base_ = 'cmpese-wrn28-10-1x1_1xb128_cifar10.py'
model = dict(train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)))
