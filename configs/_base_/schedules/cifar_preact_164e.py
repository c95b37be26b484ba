# Pre-activation ResNets on CIFAR (arXiv 1603.05027): 64k steps of 128 images, divided by ten at 32k and 48k, which are
# 164 epochs of 391 steps; the first 400 steps (mmengine counts one less) at a tenth of the rate, as in deep nets.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.0001))
param_scheduler = [
    dict(type='ConstantLR', by_epoch=False, factor=0.1, begin=0, end=401),
    dict(type='MultiStepLR', by_epoch=True, milestones=[82, 123], gamma=0.1),
]
train_cfg = dict(by_epoch=True, max_epochs=164, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=128)
