# Inception-v3 on ImageNet, by its paper's recipe.
# The last step of its ladder (table 3), "BN-auxiliary": 21.2/5.6 % top-1/top-5 error. Each earlier step is this config
# without one thing more: inception-v2-rmsprop-ls-3x3, inception-v2-rmsprop-ls, inception-v2-rmsprop, inception-v2.
_base_ = [
    '../_base_/models/inception-v3.py',
    '../_base_/datasets/imagenet_bs32_299.py',
    '../_base_/schedules/imagenet_bs256_inception.py',
    'mmpretrain::_base_/default_runtime.py',
]
