# SE-Inception-v3 on ImageNet: a gate after each of the eleven mixed blocks; Inception-v3's recipe.
_base_ = 'inception-v3_8xb32_in1k.py'
model = dict(backbone=dict(attention=dict(type='SE')))
