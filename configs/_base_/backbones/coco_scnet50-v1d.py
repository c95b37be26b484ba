# SCNet-50 v1d for COCO, with its authors' ImageNet weights.
_base_ = 'coco_scnet50.py'
backbone = dict(
    deep_stem=True,
    avg_down=True,
    avd=True,
    init_cfg=dict(checkpoint='https://backseason.oss-cn-beijing.aliyuncs.com/scnet/scnet50_v1d-4109d1e1.pth'),
)
