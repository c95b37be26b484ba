# CIFAR-10: padded by 4, cropped to 32 pixels and mirrored at random; 128 images on one device, as the papers have them.
_base_ = 'mmpretrain::_base_/datasets/cifar10_bs16.py'
train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=128)
test_dataloader = val_dataloader
