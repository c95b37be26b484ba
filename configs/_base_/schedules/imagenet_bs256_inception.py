# The recipe of Inception-v3's paper (arXiv 1512.00567, section 8): RMSProp (decay 0.9, epsilon 1), learning rate 0.045,
# times 0.94 every two of 100 epochs, gradients clipped at 2, tested on a running average of the weights. Its 50
# replicas of 32 images step one by one; here all step together, and 256 images keep its rate.
# Not in the paper, but in its authors' code: momentum 0.9, weight decay 4e-5, 0.9999 for the average.
# The optimizer is timm's (pip install timm): as in TensorFlow epsilon is inside the root, and the mean square starts at
# one. With torch's own (type='RMSprop', the same options) epsilon is outside and the mean square starts at zero:
# with epsilon 1 the first steps are 1.38 times as long, later ones down to 0.71 times.
optim_wrapper = dict(
    optimizer=dict(
        type='timm.optim.RMSpropTF', lr=0.045, alpha=0.9, eps=1.0, momentum=0.9, weight_decay=4e-5
    ),
    clip_grad=dict(max_norm=2.0),
)
param_scheduler = dict(type='StepLR', by_epoch=True, step_size=2, gamma=0.94)
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL')]
auto_scale_lr = dict(base_batch_size=256)
