# mmpose's recipe: Adam at 5e-4 for 512 images a step, 210 epochs, a tenth from epoch 170 and again from 200.
from mmengine.optim import LinearLR, MultiStepLR
from torch.optim import Adam

optim_wrapper = dict(optimizer=dict(type=Adam, lr=5e-4))
param_scheduler = [
    dict(type=LinearLR, start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type=MultiStepLR, milestones=[170, 200], gamma=0.1, by_epoch=True, begin=0, end=210),
]
train_cfg = dict(by_epoch=True, max_epochs=210, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=512)
