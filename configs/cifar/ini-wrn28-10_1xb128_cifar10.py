# Inner-Imaging-WRN-28-10 (D+A+F) on CIFAR-10.
# The paper's settings on CIFAR are not known to us: the plain net's recipe.
_base_ = 'wrn28-10_1xb128_cifar10.py'
model = dict(backbone=dict(attention=dict(type='InnerImaging')))
