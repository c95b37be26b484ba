# The ladder of Inception-v3's paper (table 3), "RMSProp": 23.1/6.3 % error.
_base_ = 'inception-v2-rmsprop-ls_8xb32_in1k.py'
model = dict(head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss', loss_weight=1.0)))
paper_top1 = 76.9
