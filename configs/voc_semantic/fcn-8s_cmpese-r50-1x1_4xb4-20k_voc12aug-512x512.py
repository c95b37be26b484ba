# FCN-8s (the skips from strides 16 and 8) with CMPE-SE-ResNet-50 (1x1 pair) on VOC 2012, 20,000 steps; mmseg's recipe.
_base_ = [
    '../_base_/models/voc_fcn-skip.py',
    '../_base_/backbones/voc_cmpese-r50-1x1.py',
    '../_base_/datasets/voc12aug.py',
    '../_base_/schedules/voc_20k.py',
    '../_base_/runtimes/mmseg.py',
]
model = dict(backbone=_base_.backbone, decode_head=dict(skips=2))
