# The recipe of SENet's ablations (arXiv 1709.01507): as its own, but 270 epochs, divided by ten after 125, 200 and 250.
_base_ = './imagenet_bs1024.py'
param_scheduler = dict(
    _delete_=True, type='MultiStepLR', by_epoch=True, milestones=[125, 200, 250], gamma=0.1
)
train_cfg = dict(max_epochs=270)
