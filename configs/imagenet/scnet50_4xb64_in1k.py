# SCNet-50 on ImageNet.
# As in the paper: 100 epochs of SGD, 4 GPUs x 64 images, learning rate 0.1, divided by ten every 30 epochs.
_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'
model = dict(backbone=dict(_delete_=True, type='inimg_mm.SCNet', depth=50, out_indices=(3,)))
train_dataloader = dict(batch_size=64)
