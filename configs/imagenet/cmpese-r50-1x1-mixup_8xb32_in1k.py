# CMPE-SE-ResNet-50 (1x1 pair view) on ImageNet with mixup, by which its paper trains there besides "the standard
# protocol". Its rate and length are not known to us: the host's 100 epochs of SGD; mixup's alpha is that of mixup's
# paper (arXiv 1710.09412) on ImageNet.
_base_ = 'cmpese-r50-1x1_8xb32_in1k.py'
model = dict(train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)))
