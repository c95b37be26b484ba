# Inner-Imaging-WRN-16-8 (D+A+F) on SVHN.
# The paper's settings on SVHN are not known to us: the plain net's recipe.
_base_ = 'wrn16-8_1xb128_svhn.py'
model = dict(backbone=dict(attention=dict(type='InnerImaging')))
