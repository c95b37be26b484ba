# CMPE-SE-PreAct-ResNet-164 (1x1 pair view) on CIFAR-10.
# The paper says "the standard protocol" and no more: the plain net's recipe. The norms around the stem are its
# authors'.
_base_ = 'preact-r164_1xb128_cifar10.py'
model = dict(backbone=dict(input_norm=True, attention=dict(type='CMPESE', view='pair_1x1')))
