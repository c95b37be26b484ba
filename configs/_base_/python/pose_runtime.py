# What mmpose's models run in. mmpose's name as default scope tells the tools whose config it is.
from mmengine.hooks import (
    CheckpointHook,
    DistSamplerSeedHook,
    IterTimerHook,
    LoggerHook,
    ParamSchedulerHook,
    SyncBuffersHook,
)
from mmengine.runner import LogProcessor
from mmengine.visualization import LocalVisBackend
from mmpose.engine.hooks import BadCaseAnalysisHook, PoseVisualizationHook
from mmpose.visualization import PoseLocalVisualizer

default_scope = 'mmpose'
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=50),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, interval=10, save_best='coco/AP', rule='greater'),
    sampler_seed=dict(type=DistSamplerSeedHook),
    visualization=dict(type=PoseVisualizationHook, enable=False),
    badcase=dict(
        type=BadCaseAnalysisHook, enable=False, out_dir='badcase', metric_type='loss', badcase_thr=5
    ),
)
custom_hooks = [dict(type=SyncBuffersHook)]
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type=LocalVisBackend)]
visualizer = dict(type=PoseLocalVisualizer, vis_backends=vis_backends, name='visualizer')
log_processor = dict(type=LogProcessor, window_size=50, by_epoch=True, num_digits=6)
log_level = 'INFO'
load_from = None
resume = False
