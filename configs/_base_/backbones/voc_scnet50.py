# SCNet-50 for segmentation, with its authors' ImageNet weights.
backbone = dict(
    type='inimg_mm.SCNet',
    depth=50,
    init_cfg=dict(
        type='inimg_mm.Pretrained',
        checkpoint='https://backseason.oss-cn-beijing.aliyuncs.com/scnet/scnet50-dc6a7e87.pth',
    ),
)
