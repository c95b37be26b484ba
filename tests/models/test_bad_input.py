"""What cannot be honoured is a ValueError that names the thing and the choices."""

import numpy as np
import pytest
import torch

from helpers.nets import tiny
from inimg_mm import zoo
from inimg_mm.models.attention import SE, Attention, DoubleFC, InnerImaging, InnerImagingPlugin, cmpe_se
from inimg_mm.registry import MODELS

GATE_TYPES = r"\['SE', 'CMPESE', 'InnerImaging'\]"
VIEWS = r"\['double_fc', 'pair_2x1', 'pair_1x1', 'folded_3x3'\]"

ZOO = {
    'unknown name': (lambda: zoo.get('seresnet51'), r"'seresnet51'.*'seresnet50'"),
    'not a name': (lambda: zoo.get(50), r"no model 50.*'resnet18'"),
    'unknown name, far from any': (lambda: zoo.build('vgg'), r"'vgg'.*'resnet18'.*'ini_resnet50_daf'"),
}

ARGUMENTS = {
    'depth': (dict(depth=49), r'ResNet has no depth 49.*\[18, 34, 50, 101, 152\]'),
    'out_indices beyond': (dict(out_indices=(0, 4)), r'out_indices.*\(0, 1, 2, 3\).*got \(0, 4\)'),
    'out_indices beyond num_stages': (
        dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1, 2)),
        r'out_indices.*\(0, 1\) \(num_stages=2\)',
    ),
    'out_indices negative': (dict(out_indices=(-1,)), r'out_indices.*\(0, 1, 2, 3\)'),
    'out_indices empty': (dict(out_indices=()), r'out_indices.*\(0, 1, 2, 3\)'),
    'out_indices of floats': (dict(out_indices=(0.0, 1.0)), r'out_indices.*\(0, 1, 2, 3\).*\(0.0, 1.0\)'),
    'out_indices in an array': (dict(out_indices=np.arange(4)), r'out_indices must be among \(0, 1, 2, 3\)'),
    'out_indices unsorted': (dict(out_indices=(2, 1)), r'out_indices must be ascending.*\(2, 1\)'),
    'out_indices repeated': (dict(out_indices=(1, 1)), r'out_indices must be ascending and without repeats'),
    'frozen_stages': (dict(frozen_stages=5), 'frozen_stages must be from -1 to 4, got 5'),
    'frozen_stages negative': (dict(frozen_stages=-2), 'frozen_stages must be from -1 to 4, got -2'),
    'frozen_stages of another type': (dict(frozen_stages=1.0), 'frozen_stages must be from -1 to 4, got 1.0'),
    'num_stages': (dict(num_stages=5), 'num_stages must be from 1 to 4, got 5'),
    'num_stages zero': (dict(num_stages=0), 'num_stages must be from 1 to 4, got 0'),
    'style': (dict(style='tensorflow'), "style must be 'pytorch' or 'caffe', got 'tensorflow'"),
    'strides': (dict(strides=(1, 2)), r'strides.*each of 4 stages.*\(1, 2\)'),
    'dilations': (dict(dilations=(1, 1, 1, 1, 1)), r'dilations.*each of 4 stages'),
    'stride': (
        dict(strides=(1, 2, 2, 0)),
        r'each of strides=\(1, 2, 2, 0\) must be an integer of at least 1',
    ),
    'stride of another type': (dict(strides=(1, 2, 2, '2')), r"each of strides=.*got '2'"),
    'dilation': (dict(dilations=(1, 1, 1, -2)), r'each of dilations=.*at least 1, got -2'),
    'multi_grid': (dict(multi_grid=(1, 2)), r'multi_grid.*3 blocks of the last stage.*\(1, 2\)'),
    'dilation of a block': (dict(multi_grid=(1, 2, 0)), r'each of multi_grid=.*at least 1, got 0'),
    'in_channels': (dict(in_channels='3'), "in_channels must be an integer of at least 1, got '3'"),
    'base_channels': (dict(base_channels=-16), 'base_channels must be .* got -16'),
    'stem_channels': (dict(stem_channels=0), 'stem_channels must be .* got 0'),
    'stem_channels of a deep stem': (
        dict(stem_channels=1, deep_stem=True),
        'deep stem needs stem_channels of at least 2, got 1',
    ),
    'groups': (dict(groups=0), 'groups must be an integer of at least 1, got 0'),
    'norm_cfg': (dict(norm_cfg='BN'), r"norm_cfg must be a config such as dict\(type='BN'\), got 'BN'"),
    'type of norm_cfg': (
        dict(norm_cfg=dict(type='Nope')),
        r"norm_cfg has the unknown type 'Nope'.*type='BN'",
    ),
    'type of conv_cfg': (dict(conv_cfg=dict(type='Nope')), r"conv_cfg has the unknown type 'Nope'.*'Conv2d'"),
    'argument of mmpretrain': (dict(se_ratio=16), r"ResNet has no argument 'se_ratio'.*'attention'.*'depth'"),
    'plugins': (dict(plugins=[dict(cfg=dict(type='inimg_mm.SE'))]), 'takes no plugins.*attention=dict'),
    'dcn without stages': (dict(dcn=dict(type='DCN')), 'used in no stage; set stage_with_dcn'),
    'stage_with_dcn': (
        dict(dcn=dict(type='DCN'), stage_with_dcn=(True, True)),
        r'stage_with_dcn.*each of 4 stages',
    ),
    'flag of stage_with_dcn': (
        dict(dcn=dict(type='DCN'), stage_with_dcn=(0, 1, 2, 3)),
        r'stage_with_dcn must be True or False for each of 4 stages, got \(0, 1, 2, 3\)',
    ),
    'dcn on basic blocks': (
        dict(depth=18, dcn=dict(type='DCN'), stage_with_dcn=(False, True, True, True)),
        r"dcn=.*'DCN'.*needs bottleneck blocks",
    ),
    'groups on basic blocks': (dict(depth=18, groups=32), 'groups=32 needs bottleneck blocks.*groups=1'),
    'base_width on basic blocks': (
        dict(depth=34, base_width=4),
        'base_width=4 needs bottleneck.*base_width=64',
    ),
    'two names of the width': (
        dict(base_width=64, width_per_group=4),
        'base_width=64 and width_per_group=4 mean the same: leave one of them out',
    ),
    'base_width too small': (dict(base_width=1), 'base_width=1 leaves no channel in a block of 16 planes'),
    'pretrained': (dict(pretrained=True), 'pretrained must be the address of a checkpoint or None, got True'),
    'pretrained beside init_cfg': (
        dict(pretrained='a.pth', init_cfg=dict(type='Pretrained', checkpoint='b.pth')),
        r"pretrained='a.pth' and init_cfg=.*'b.pth'.*leave one of them out \(model.pretrained=None",
    ),
    'drop_path_rate': (dict(drop_path_rate=1), 'drop_path_rate must be at least 0 and below 1, got 1'),
    'drop_path_rate of another type': (dict(drop_path_rate='0.1'), "drop_path_rate .*, got '0.1'"),
    'drop_path_rate negative': (dict(drop_path_rate=-0.1), 'drop_path_rate must be at least 0'),
    'attention': (dict(attention='SE'), rf"attention must be a dict with a type of {GATE_TYPES}, got 'SE'"),
    'attention type in a list': (dict(attention=dict(type=['SE'])), rf"\['SE'\]; choose from {GATE_TYPES}"),
    'attention type': (dict(attention=dict(type='CBAM')), rf"'CBAM'; choose from {GATE_TYPES}"),
    'attention without a type': (dict(attention=dict(reduction=8)), GATE_TYPES),
    'attention option': (
        dict(attention=dict(type='SE', ratio=8)),
        r"'SE' has no option 'ratio'.*'reduction'",
    ),
    'attention channels': (dict(attention=dict(type='SE', channels=8)), "'SE' has no option 'channels'"),
    'attention stages': (
        dict(attention=dict(type='SE', stages=(True, False))),
        r'attention stages.*each of 4 stages.*\(True, False\)',
    ),
    'indices as attention stages': (
        dict(attention=dict(type='SE', stages=(0, 1, 2, 3))),
        r'attention stages must be True or False for each of 4 stages, got \(0, 1, 2, 3\)',
    ),
    'a word as attention stages': (
        dict(attention=dict(type='SE', stages='last')),
        r"attention stages must hold one value for each of 4 stages, got 'last'",
    ),
}

PAIR = (1, 1), (2, 1)
GATES = {
    'view': (lambda: cmpe_se(64, view='pair_3x1'), f"'pair_3x1'; choose from {VIEWS}"),
    'view that takes no fold': (
        lambda: cmpe_se(64, view='pair_1x1', fold=8),
        "fold belongs to view='folded_3x3'",
    ),
    'double_fc takes no fold': (lambda: cmpe_se(64, view='double_fc', fold=8), "view='double_fc' takes none"),
    'width that does not divide': (
        lambda: InnerImaging(40, fold=16),
        r'fold=16 does not divide 40.*\[1, 2, 4, 5, 8, 10, 20, 40\].*pad=True',
    ),
    'rows that do not divide': (
        lambda: InnerImaging(40, fold=dict(rows=7)),
        r"fold=\{'rows': 7\} does not divide 40.*\[1, 2, 4, 5, 8, 10, 20, 40\]",
    ),
    'folded view that does not divide': (
        lambda: cmpe_se(40, view='folded_3x3'),
        r'fold=16 does not divide 40 channels',
    ),
    'taller filter, two streams': (
        lambda: InnerImaging(64, filters=((3, 3),), fold=None),
        r'filter \(3, 3\) is larger than the 2x64 inner image.*at most 2x64.*fold=16',
    ),
    'taller filter, one stream': (
        lambda: InnerImaging(64, filters=PAIR, fold=None, streams=1),
        r'filter \(2, 1\) is larger than the 1x64',
    ),
    'wider filter': (lambda: InnerImaging(64, filters=((1, 9),), fold=8), r'filter \(1, 9\).*the 16x8'),
    'filter that no fold fits': (lambda: InnerImaging(2, filters=((9, 1),)), r'filter \(9, 1\).*the 4x1'),
    'streams': (lambda: InnerImaging(64, streams=3), r'streams must be 1 .* or 2 .*, got 3'),
    'aggregate': (lambda: InnerImaging(64, aggregate='sum'), "aggregate must be 'map' or 'code', got 'sum'"),
    'maps': (lambda: InnerImaging(64, maps=0), 'maps must be an integer of at least 1, got 0'),
    'reduction': (lambda: InnerImaging(64, reduction=0), 'reduction must be an integer of at least 1, got 0'),
    'reduction of SE': (lambda: SE(64, reduction=1.5), 'reduction must be an integer of at least 1, got 1.5'),
    'reduction of double_fc': (lambda: DoubleFC(64, reduction=-1), 'reduction must be .* got -1'),
    'reduction of a flag': (lambda: SE(64, reduction=True), 'reduction must be .* got True'),
    'norm': (
        lambda: InnerImaging(64, norm_cfg=dict(type='Nope')),
        r"norm_cfg has the unknown type 'Nope'.*dict\(type='BN'\)",
    ),
    'view in a list': (lambda: cmpe_se(64, view=['pair_1x1']), f'choose from {VIEWS}'),
    'divisor': (lambda: SE(64, divisor=0), 'divisor must be an integer of at least 1, got 0'),
}

FOLDS = [
    '16',
    1.5,
    dict(),
    dict(height=4),
    dict(rows=2, width=16),
    dict(rows=2, pad=True),
    [16],
    dict(pad=True),
]
SIZES = [0, -8, True, dict(width=0), dict(rows=0), dict(rows=2.0), dict(width='16')]
FILTERS = [(), ((3,),), (3, 3), ((0, 1),), ((1.0, 1),), '3x3', ((1, 1, 1),), None]


@pytest.mark.parametrize('case', ZOO)
def test_zoo(case):
    build, message = ZOO[case]
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize('case', ARGUMENTS)
def test_backbone_argument(case):
    options, message = ARGUMENTS[case]
    with pytest.raises(ValueError, match=message):
        tiny('resnet50', **options)


@pytest.mark.parametrize('case', GATES)
def test_gate_option(case):
    build, message = GATES[case]
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize('fold', FOLDS, ids=str)
def test_form_of_a_fold(fold):
    with pytest.raises(ValueError, match=r'fold must be None, a width such as 16.*dict\(rows=10\)'):
        InnerImaging(64, fold=fold)


@pytest.mark.parametrize('fold', SIZES, ids=str)
def test_size_of_a_fold(fold):
    with pytest.raises(ValueError, match='of a fold must be an integer of at least 1'):
        InnerImaging(64, fold=fold)


@pytest.mark.parametrize('filters', FILTERS, ids=str)
def test_form_of_filters(filters):
    with pytest.raises(ValueError, match=r'filters must be \(height, width\) pairs such as'):
        InnerImaging(64, filters=filters)


def test_narrow_family_names_itself_and_its_depths():
    with pytest.raises(ValueError, match=r'SEResNeXt has no depth 18; choose from \[50, 101, 152\]'):
        tiny('seresnext50_32x4d', depth=18)


@pytest.mark.parametrize('family', ['seresnet18', 'cmpese_resnet50_pair_1x1'])
def test_preset_refuses_what_is_no_config(family):
    with pytest.raises(ValueError, match=rf"attention must be a dict with a type of {GATE_TYPES}, got 'SE'"):
        tiny(family, attention='SE')


def test_choices_are_those_of_the_family():
    with pytest.raises(ValueError, match=r"SCNet has no argument 'avg_pool'.*'avd'.*'avg_down'.*'pooling_r'"):
        tiny('scnet50', avg_pool=True)


def test_the_registry_keeps_the_reason():
    with pytest.raises(ValueError, match=r'ResNet has no depth 49'):
        MODELS.build(dict(type='inimg_mm.ResNet', depth=49))


NEEDS_SHORTCUT = [
    dict(type='CMPESE', view='double_fc'),
    dict(type='CMPESE', view='pair_1x1'),
    dict(type='InnerImaging', streams=2),
]
NO_SHORTCUT = r"no shortcut; gates that fit: type='SE', or type='InnerImaging' with streams=1"


@pytest.mark.parametrize('spec', NEEDS_SHORTCUT, ids=str)
def test_gate_that_needs_a_shortcut(spec):
    with pytest.raises(ValueError, match=NO_SHORTCUT):
        Attention(spec, num_stages=4, has_shortcut=False).build(stage=0, channels=64, planes=64)
    gate = Attention(spec, num_stages=4).build(stage=0, channels=64, planes=64)
    with pytest.raises(ValueError, match=NO_SHORTCUT):
        gate(torch.randn(2, 64, 4, 4))


def test_plugin_that_needs_a_shortcut():
    with pytest.raises(ValueError, match=NO_SHORTCUT):
        InnerImagingPlugin(64, streams=2)


@pytest.mark.parametrize('spec', [dict(type='SE'), dict(type='InnerImaging', streams=1)], ids=str)
def test_gates_that_fit_without_a_shortcut(spec):
    gate = Attention(spec, num_stages=4, has_shortcut=False).build(stage=0, channels=64, planes=64)
    assert gate(torch.randn(2, 64, 4, 4)).shape == (2, 64, 1, 1)
