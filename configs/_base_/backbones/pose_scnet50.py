# SCNet-50 as mmpose's heads read it, with its authors' ImageNet weights.
backbone = dict(
    type='inimg_mm.SCNet',
    depth=50,
    out_indices=(3,),
    init_cfg=dict(
        type='inimg_mm.Pretrained',
        checkpoint='https://backseason.oss-cn-beijing.aliyuncs.com/scnet/scnet50-dc6a7e87.pth',
    ),
)
