# CMPE-SE-WRN-16-8 (1x1 pair view) on SVHN.
# The paper says that it is better than SE on SVHN, and not what it trained: the plain net's recipe.
_base_ = 'wrn16-8_1xb128_svhn.py'
model = dict(backbone=dict(input_norm=True, stem_norm=True, attention=dict(type='CMPESE', view='pair_1x1')))
