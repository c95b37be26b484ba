# Fully sharded data parallel: parameters, gradients and optimiser states are spread over the processes, and
# each residual block with its gate is gathered when it is computed. Checkpoints are whole: any tool reads them.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='inimg_mm.FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel', auto_wrap_policy=dict(type='inimg_mm.wrap_residual_blocks')
    ),
)
