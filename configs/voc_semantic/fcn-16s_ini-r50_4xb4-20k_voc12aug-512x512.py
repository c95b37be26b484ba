# FCN-16s (the skip from stride 16) with InI-ResNet-50 (D+A+F) on VOC 2012, 20,000 steps; mmseg's recipe.
_base_ = [
    '../_base_/models/voc_fcn-skip.py',
    '../_base_/backbones/voc_ini-r50.py',
    '../_base_/datasets/voc12aug.py',
    '../_base_/schedules/voc_20k.py',
    '../_base_/runtimes/mmseg.py',
]
model = dict(backbone=_base_.backbone, decode_head=dict(skips=1))
