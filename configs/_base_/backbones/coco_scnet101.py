# SCNet-101 for COCO, with its authors' ImageNet weights.
_base_ = 'coco_scnet50.py'
backbone = dict(
    depth=101,
    init_cfg=dict(checkpoint='https://backseason.oss-cn-beijing.aliyuncs.com/scnet/scnet101-44c5b751.pth'),
)
