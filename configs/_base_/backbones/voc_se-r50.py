# SE-ResNet-50 for segmentation, with mmpretrain's ImageNet weights.
backbone = dict(
    type='inimg_mm.SEResNet',
    depth=50,
    init_cfg=dict(
        type='inimg_mm.Pretrained',
        checkpoint='https://mmassets.onedl.ai/mmclassification/v0/se-resnet/se-resnet50_batch256_imagenet_20200804-ae206104.pth',
    ),
)
