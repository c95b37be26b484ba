# DeepSpeed's ZeRO, stage 3: parameters, gradients and optimiser states are spread over the processes. The config
# that has this base says optim_wrapper = dict(type='DeepSpeedOptimWrapper'), which takes an optimizer alone:
# gradient_accumulation_steps and gradient_clipping stand in the strategy.
# A checkpoint is a folder of shards; the zero_to_fp32.py that DeepSpeed leaves beside it makes one file of it.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    config=dict(zero_allow_untested_optimizer=True),  # it has tried Adam with ZeRO, and not SGD
    zero_optimization=dict(stage=3),
)
