# td-hm_scnet50_8xb64-210e_coco-256x192.py in mmengine's pure Python style: types are classes, bases are imports.
from mmengine.config import read_base
from mmpose.models import HeatmapHead, KeypointMSELoss, PoseDataPreprocessor, TopdownPoseEstimator

from inimg_mm.checkpoints import Pretrained
from inimg_mm.models.backbones import SCNet

with read_base():
    from .._base_.python.pose_adam_210e import *
    from .._base_.python.pose_coco_256x192 import *
    from .._base_.python.pose_runtime import *

model = dict(
    type=TopdownPoseEstimator,
    data_preprocessor=dict(
        type=PoseDataPreprocessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type=SCNet,
        depth=50,
        out_indices=(3,),
        init_cfg=dict(
            type=Pretrained,
            checkpoint='https://backseason.oss-cn-beijing.aliyuncs.com/scnet/scnet50-dc6a7e87.pth',
        ),
    ),
    head=dict(
        type=HeatmapHead,
        in_channels=2048,
        out_channels=17,
        loss=dict(type=KeypointMSELoss, use_target_weight=True),
        decoder=codec,
    ),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
)
