# The recipe of SE's paper (arXiv 1709.01507): SGD, 32 GPUs x 32 images, learning rate 0.6, divided by ten
# every 30 of 100 epochs. The weight decay, which it does not name, is that of the host's recipe.
_base_ = 'mmpretrain::_base_/schedules/imagenet_bs256.py'
optim_wrapper = dict(optimizer=dict(lr=0.6))
auto_scale_lr = dict(base_batch_size=1024)
