# CMPE-SE-ResNet-50 (2x1 pair view) for COCO, warm-started from a plain ResNet-50.
_base_ = 'coco_warm-r50.py'
backbone = dict(type='inimg_mm.CMPESEResNet', attention=dict(type='CMPESE', view='pair_2x1'))
