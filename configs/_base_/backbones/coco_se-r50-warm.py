# SE-ResNet-50 for COCO, warm-started from a plain ResNet-50.
_base_ = 'coco_warm-r50.py'
backbone = dict(type='inimg_mm.SEResNet')
