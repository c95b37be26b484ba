# Inception-v3 as its paper trains it: BN-auxiliary classifier (weight 0.4), labels smoothed by 0.1.
# The heads pool, so there is no neck.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='inimg_mm.InceptionV3', out_indices=(2, 3)),  # Mixed_6e and Mixed_7c
    head=dict(
        type='inimg_mm.InceptionHead',
        num_classes=1000,
        in_channels=[768, 2048],
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
    ),
)
