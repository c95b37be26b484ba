# SE-ResNet-50 for COCO: mmpretrain's ImageNet weights; stem, first stage and all norm statistics frozen.
backbone = dict(
    type='inimg_mm.SEResNet',
    depth=50,
    frozen_stages=1,
    norm_eval=True,
    init_cfg=dict(
        type='inimg_mm.Pretrained',
        checkpoint='https://mmassets.onedl.ai/mmclassification/v0/se-resnet/se-resnet50_batch256_imagenet_20200804-ae206104.pth',
    ),
)
