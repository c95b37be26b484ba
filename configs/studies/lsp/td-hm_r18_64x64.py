# Top-down keypoints with a half-width ResNet-18, from scratch on the Leeds Sports Poses; gates.yml puts gates in.
_base_ = '../../demo/td-hm_se-r18_digits-96x96.py'
from inimg_mm.datasets import own_data

own_data(
    _base_,
    'data/lsp',
    image_scale=(64, 64),
    flip=0.5,
    metrics=('ap', 'pck'),
    # CrowdPose's, which has the same joints: ankles, knees, hips, wrists, elbows, shoulders, neck, top of the head
    sigmas=(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079),
)
epochs = 80
model = dict(backbone=dict(type='inimg_mm.ResNet'))
train_dataloader = dict(batch_size=16, num_workers=0)
val_dataloader = dict(num_workers=0)
test_dataloader = val_dataloader
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, end=epochs, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=epochs, val_interval=10)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
