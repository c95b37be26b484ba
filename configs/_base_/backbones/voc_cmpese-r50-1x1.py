# CMPE-SE-ResNet-50 (1x1 pair view) for segmentation, warm-started from a plain ResNet-50's ImageNet weights.
backbone = dict(
    type='inimg_mm.CMPESEResNet',
    depth=50,
    attention=dict(type='CMPESE', view='pair_1x1'),
    init_cfg=dict(type='inimg_mm.Pretrained', checkpoint='torchvision://resnet50', warm_start=True),
)
