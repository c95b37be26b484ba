# SE-ResNet-101 on ImageNet, sharded by FSDP. On two CPU processes this strategy trained a small net, with the losses
# of plain data parallel training, and resumed; on GPUs, and on this net, it was not run.
_base_ = ['se-r101_32xb32_in1k.py', '../_base_/strategies/fsdp.py']
