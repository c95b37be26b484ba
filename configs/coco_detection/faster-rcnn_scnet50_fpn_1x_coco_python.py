# faster-rcnn_scnet50_fpn_1x_coco.py in mmengine's pure Python style: types are classes, bases are imports.
from mmengine.config import read_base

from inimg_mm.models.backbones import SCNet

with read_base():
    from .._base_.python.det_coco_detection import *
    from .._base_.python.det_faster_rcnn_r50_fpn import *
    from .._base_.python.det_runtime import *
    from .._base_.python.det_schedule_1x import *

model.update(
    backbone=dict(
        type=SCNet,
        init_cfg=dict(checkpoint='https://backseason.oss-cn-beijing.aliyuncs.com/scnet/scnet50-dc6a7e87.pth'),
    )
)
