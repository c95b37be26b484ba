# ImageNet with the crops, colours and lighting of "bag of tricks" (arXiv 1812.01187 and its authors' code).
# In float32, because the host's Lighting wraps bytes around at 0 and 255.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs32.py'
train_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, backend='cv2'),
    dict(
        type='Lighting',  # blue, green, red
        eigval=[55.4625, 4.7940, 1.1475],
        eigvec=[[-0.5836, -0.6948, 0.4203], [-0.5808, -0.0045, -0.8140], [-0.5675, 0.7192, 0.4009]],
        alphastd=0.1,
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
