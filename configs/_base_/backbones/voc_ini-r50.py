# InI-ResNet-50 (D+A+F) for segmentation, warm-started from a plain ResNet-50's ImageNet weights.
backbone = dict(
    type='inimg_mm.InnerImagingResNet',
    depth=50,
    attention=dict(type='InnerImaging', streams=2, filters=((1, 1), (2, 1), (3, 3)), fold=16),
    init_cfg=dict(type='inimg_mm.Pretrained', checkpoint='torchvision://resnet50', warm_start=True),
)
