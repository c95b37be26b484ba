# FCN-8s (the skips from strides 16 and 8) with SE-ResNet-50 on VOC 2012, 20,000 steps; mmseg's recipe.
_base_ = [
    '../_base_/models/voc_fcn-skip.py',
    '../_base_/backbones/voc_se-r50.py',
    '../_base_/datasets/voc12aug.py',
    '../_base_/schedules/voc_20k.py',
    '../_base_/runtimes/mmseg.py',
]
model = dict(backbone=_base_.backbone, decode_head=dict(skips=2))
