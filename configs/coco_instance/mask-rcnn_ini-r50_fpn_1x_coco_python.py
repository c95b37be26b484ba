# mask-rcnn_ini-r50_fpn_1x_coco.py in mmengine's pure Python style: types are classes, bases are imports.
from mmengine.config import read_base

from inimg_mm.models.backbones import InnerImagingResNet

with read_base():
    from .._base_.python.det_coco_instance import *
    from .._base_.python.det_mask_rcnn_r50_fpn import *
    from .._base_.python.det_runtime import *
    from .._base_.python.det_schedule_1x import *

model.update(
    backbone=dict(
        type=InnerImagingResNet,
        frozen_stages=0,  # gates in a frozen stage could not learn
        attention=dict(type='InnerImaging', streams=2, filters=((1, 1), (2, 1), (3, 3)), fold=16),
        init_cfg=dict(warm_start=True),
    )
)
