# SCNet-101 on ImageNet, sharded by DeepSpeed (below 0.19: mmengine 0.10 does not know later ones). On two CPU
# processes ZeRO 3 trained a small net, with the losses of plain data parallel training, and resumed; on GPUs, and on
# this net, it was not run.
_base_ = ['scnet101_4xb64_in1k.py', '../_base_/strategies/deepspeed_zero3.py']
optim_wrapper = dict(type='DeepSpeedOptimWrapper')
