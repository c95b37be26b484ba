"""What a pre-activation, wide or pyramidal network cannot be is said in a sentence, with what is near it."""

import math

import pytest

from inimg_mm.registry import MODELS

PREACT = dict(type='PreActResNet', depth=110)
WIDE = dict(type='WideResNet', depth=28, widen_factor=3)
PYRAMID = dict(type='PyramidNet', depth=110, alpha=48)
ERRORS = {
    'depth': (
        PREACT | dict(depth=111),
        r'PreActResNet has no depth 111; near it are 110 or 116 with basic blocks \(depth - 2 is a multiple '
        r"of 6\), 110 or 119 with bottlenecks .* of 9\); with stem='imagenet' choose from \[18, 34, 50, ",
    ),
    'depth of bottlenecks': (PREACT | dict(depth=116, bottleneck=True), 'it are 110 or 119 with bottlenecks'),
    'no number': (PREACT | dict(depth='110'), "no depth '110'; near it are 8 or 14 with basic blocks"),
    'depth of WRN': (
        WIDE | dict(depth=27),
        r'WideResNet has no depth 27; near it are 22 or 28 with basic blocks \(depth - 4 .* of 6\)$',
    ),
    'depth of PyramidNet': (PYRAMID | dict(depth=165), '164 or 173 with bottlenecks.*164 or 170 with basic'),
    'ImageNet depth': (PREACT | dict(stem='imagenet'), r'no depth 110; choose from \[18, 34, 50, 101, 152\]'),
    'stem': (PREACT | dict(stem='svhn'), r"stem must be one of \('imagenet', 'cifar'\), got 'svhn'"),
    'norm': (PREACT | dict(depth=50, stem_norm=True), "stem_norm=True belongs to nets with stem='cifar'"),
    'blocks': (PREACT | dict(depth=50, bottleneck=True), "bottleneck=True belongs to nets with stem='cifar'"),
    'deep stem': (PREACT | dict(deep_stem=True), "deep_stem=True belongs to nets with stem='imagenet'"),
    'fourth stage': (PREACT | dict(out_indices=(3,)), r'out_indices must be among \(0, 1, 2\)'),
    'stages': (PREACT | dict(num_stages=4), 'num_stages must be from 1 to 3, got 4'),
    'stem of WRN': (WIDE | dict(stem='imagenet'), 'takes no stem: it has the CIFAR stem and basic blocks'),
    'width of WRN': (WIDE | dict(widen_factor=0), 'widen_factor must be an integer of at least 1, got 0'),
    'no width of WRN': (dict(type='WideResNet', depth=28), 'widen_factor must be an integer .*, got None'),
    'groups of WRN': (WIDE | dict(groups=2), 'groups=2 needs bottleneck blocks'),
    'dropout': (WIDE | dict(dropout=1), 'dropout must be at least 0 and below 1, got 1'),
    'alpha': (PYRAMID | dict(alpha=0), 'alpha must be a number above 0, got 0'),
    'no alpha': (dict(type='PyramidNet', depth=110), 'alpha must be a number above 0, got None'),
    'endless alpha': (PYRAMID | dict(alpha=math.inf), 'alpha must be a number above 0, got inf'),
    'switch': (PREACT | dict(final_norm='no'), "final_norm must be True or False, got 'no'"),
    'switch of the input': (WIDE | dict(input_norm=1), 'input_norm must be True or False, got 1'),
    'switch of blocks': (PREACT | dict(bottleneck='yes'), "bottleneck must be True or False, got 'yes'"),
    'shake_drop': (PYRAMID | dict(shake_drop=1.0), 'shake_drop must be at least 0 and below 1, got 1.0'),
    'two drops': (PYRAMID | dict(shake_drop=0.5, drop_path_rate=0.1), 'leave one of them out'),
    'avg_down': (PYRAMID | dict(avg_down=True), 'no convolutions in its shortcuts'),
    'unknown': (WIDE | dict(alpha=3), "WideResNet has no argument 'alpha'; choose from .*'widen_factor'"),
    'rows': (
        WIDE | dict(attention=dict(type='CMPESE', view='folded_3x3', fold=dict(rows=5))),
        'does not divide 48 channels; rows that do',
    ),
}


@pytest.mark.parametrize('case', ERRORS)
def test_what_cannot_be_had_is_named(case):
    config, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(config, type=f'inimg_mm.{config["type"]}'))
