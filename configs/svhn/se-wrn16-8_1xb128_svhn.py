# SE-WRN-16-8 on SVHN.
# The paper says that CMPE-SE is better than this on SVHN, and not what it trained: the plain net's recipe.
_base_ = 'wrn16-8_1xb128_svhn.py'
model = dict(backbone=dict(input_norm=True, stem_norm=True, attention=dict(type='SE', bias=False)))
