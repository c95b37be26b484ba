# mmpretrain's resnet50.py in pure Python, with this package's ResNet-50.
from mmpretrain.models import CrossEntropyLoss, GlobalAveragePooling, ImageClassifier, LinearClsHead

from inimg_mm.models.backbones import ResNet

model = dict(
    type=ImageClassifier,
    backbone=dict(type=ResNet, depth=50, out_indices=(3,)),
    neck=dict(type=GlobalAveragePooling),
    head=dict(
        type=LinearClsHead,
        num_classes=1000,
        in_channels=2048,
        loss=dict(type=CrossEntropyLoss, loss_weight=1.0),
        topk=(1, 5),
    ),
)
