# DeepSpeed's ZeRO, stage 3: parameters, gradients and optimiser states are spread over the processes.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    zero_optimization=dict(stage=3),
)
optim_wrapper = dict(type='DeepSpeedOptimWrapper')
