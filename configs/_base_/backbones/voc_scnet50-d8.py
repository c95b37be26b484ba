# SCNet-50 at stride 8: the last two stages keep their map's size and are dilated.
_base_ = 'voc_scnet50.py'
backbone = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True)
