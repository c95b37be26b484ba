# The ladder of Inception-v3's paper (table 3), "factorized 7x7": 21.6/5.8 % error.
# The auxiliary classifier's fully connected layer has no norm.
_base_ = 'inception-v3_8xb32_in1k.py'
model = dict(head=dict(fc_norm=False))
paper_top1 = 78.4
