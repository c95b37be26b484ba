# SCNet-50 for COCO: its authors' ImageNet weights; stem, first stage and all norm statistics frozen.
backbone = dict(
    type='inimg_mm.SCNet',
    depth=50,
    frozen_stages=1,
    norm_eval=True,
    init_cfg=dict(
        type='inimg_mm.Pretrained',
        checkpoint='https://backseason.oss-cn-beijing.aliyuncs.com/scnet/scnet50-dc6a7e87.pth',
    ),
)
