# cmpese-r50-1x1_8xb32_in1k.py in mmengine's pure Python style: types are classes, bases are imports.
from mmengine.config import read_base

from inimg_mm.models.backbones import CMPESEResNet

with read_base():
    from .._base_.python.cls_imagenet_bs32 import *
    from .._base_.python.cls_imagenet_bs256 import *
    from .._base_.python.cls_runtime import *
    from .._base_.python.cls_resnet50 import *

model.update(backbone=dict(type=CMPESEResNet, attention=dict(type='CMPESE', view='pair_1x1')))
