# Inner-Imaging-PreAct-ResNet-164 (D+A+F) on CIFAR-100.
# The paper's settings on CIFAR are not known to us: the plain net's recipe.
_base_ = 'preact-r164_1xb128_cifar100.py'
model = dict(backbone=dict(attention=dict(type='InnerImaging')))
