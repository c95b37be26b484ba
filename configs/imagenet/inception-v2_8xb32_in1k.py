# The ladder of Inception-v3's paper (table 3), Inception-v2: 23.4 % top-1 error.
# SGD with momentum 0.9; the paper does not name its rate, which is that of the next step here.
_base_ = 'inception-v2-rmsprop_8xb32_in1k.py'
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.045, momentum=0.9, weight_decay=4e-5),
)
paper_top1 = 76.6
