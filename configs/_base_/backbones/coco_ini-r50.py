# Inner-Imaging-ResNet-50 (D+A+F) for COCO, warm-started from a plain ResNet-50.
_base_ = 'coco_warm-r50.py'
backbone = dict(
    type='inimg_mm.InnerImagingResNet',
    attention=dict(type='InnerImaging', streams=2, filters=((1, 1), (2, 1), (3, 3)), fold=16),
)
