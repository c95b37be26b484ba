# A classifier of images of 32 pixels: the map of the third and last stage, its mean, one fully connected layer.
model = dict(
    type='ImageClassifier',
    backbone=dict(out_indices=(2,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, loss=dict(type='CrossEntropyLoss')),
)
