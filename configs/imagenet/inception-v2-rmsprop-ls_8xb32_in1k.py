# The ladder of Inception-v3's paper (table 3), "label smoothing": 22.8/6.1 % error.
# The stem begins with one 7x7 convolution, which three 3x3s factorise later.
_base_ = 'inception-v2-rmsprop-ls-3x3_8xb32_in1k.py'
model = dict(backbone=dict(stem='7x7'))
paper_top1 = 77.2
