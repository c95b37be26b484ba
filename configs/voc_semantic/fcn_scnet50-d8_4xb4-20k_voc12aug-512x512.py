# FCN with SCNet-50 at stride 8 on VOC 2012, 20,000 steps; mmseg's recipe for ResNet-50.
_base_ = [
    '../_base_/models/voc_fcn-d8.py',
    '../_base_/backbones/voc_scnet50-d8.py',
    '../_base_/datasets/voc12aug.py',
    '../_base_/schedules/voc_20k.py',
    '../_base_/runtimes/mmseg.py',
]
model = dict(backbone=_base_.backbone)
