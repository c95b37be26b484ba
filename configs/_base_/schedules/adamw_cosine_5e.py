# AdamW at 1e-3 with a short warm-up and a cosine to zero, for training small nets from scratch.
# The loops are set where it is used: some hosts' runtimes have them already.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=10)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=5, by_epoch=True, end=5, convert_to_iter_based=True),
]
