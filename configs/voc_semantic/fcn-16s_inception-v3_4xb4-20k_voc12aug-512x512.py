# FCN-16s (the skip from stride 16) with Inception-v3 on VOC 2012, 20,000 steps; mmseg's recipe.
_base_ = [
    '../_base_/models/voc_fcn-skip.py',
    '../_base_/backbones/voc_inception-v3.py',
    '../_base_/datasets/voc12aug.py',
    '../_base_/schedules/voc_20k.py',
    '../_base_/runtimes/mmseg.py',
]
model = dict(
    data_preprocessor=_base_.pixels,
    backbone=_base_.backbone,
    decode_head=dict(in_channels=_base_.channels, skips=1),
)
