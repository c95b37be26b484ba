# fcn-8s_scnet50_4xb4-20k_voc12aug-512x512.py in mmengine's pure Python style: types are classes, bases are imports.
from mmengine.config import read_base

from inimg_mm.checkpoints import Pretrained
from inimg_mm.models.backbones import SCNet

with read_base():
    from .._base_.python.seg_fcn_skip import *
    from .._base_.python.seg_runtime import *
    from .._base_.python.seg_sgd_20k import *
    from .._base_.python.seg_voc12aug import *

model.update(
    backbone=dict(
        type=SCNet,
        depth=50,
        init_cfg=dict(
            type=Pretrained,
            checkpoint='https://backseason.oss-cn-beijing.aliyuncs.com/scnet/scnet50-dc6a7e87.pth',
        ),
    ),
    decode_head=dict(skips=2),
)
