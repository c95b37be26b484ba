# Inner-Imaging-PyramidNet-110 (D+A+F), alpha 270, on CIFAR-10.
# The paper's settings on CIFAR are not known to us: the plain net's recipe.
_base_ = 'pyramid110-a270_1xb128_cifar10.py'
model = dict(backbone=dict(attention=dict(type='InnerImaging')))
