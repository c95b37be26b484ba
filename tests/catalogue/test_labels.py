"""What backbones are called, and which are the zoo's."""

import pytest

from inimg_mm import zoo
from inimg_mm.catalogue.labels import METHODS, backbone_label, method, zoo_name

LABELS = {
    'ResNet-50': dict(type='ResNet', depth=50),
    'SE-ResNeXt-50': dict(type='SEResNeXt', depth=50),
    'SE-ResNet-50 (reduction 8, position pre)': dict(
        type='SEResNet', depth=50, attention=dict(reduction=8, position='pre')
    ),
    'SE-ResNet-18 (squeeze max, excitation tanh)': dict(
        type='ResNet', depth=18, attention=dict(type='SE', squeeze='max', excitation='tanh')
    ),
    'ResNet-18 (separable)': dict(
        type='ResNet', depth=18, conv_cfg=dict(type='inimg_mm.SeparableConv')
    ),
    'CMPE-SE-SCNet-101 (double FC)': dict(
        type='SCNet', depth=101, attention=dict(type='CMPESE', view='double_fc')
    ),
    'SE-Inception-v3 (padding same)': dict(type='InceptionV3', padding='same', attention=dict(type='SE')),
    'Inception-v3 (stem 7x7)': dict(type='InceptionV3', stem='7x7'),
    'PreAct-ResNet-164': dict(type='PreActResNet', depth=164),
    'SE-WRN-28-10': dict(type='WideResNet', depth=28, widen_factor=10, attention=dict(type='SE')),
    'InI-PyramidNet-110 α270 (D+A+F)': dict(
        type='PyramidNet', depth=110, alpha=270, attention=dict(type='InnerImaging')
    ),
}  # fmt: skip


@pytest.mark.parametrize('label', LABELS)
def test_labels(label):
    settings = LABELS[label]
    assert backbone_label(dict(settings, type=f'inimg_mm.{settings["type"]}')) == label


def test_methods():
    found = {name: method(model.config) for name, model in zoo.MODELS.items()}
    assert set(found.values()) == set(METHODS)
    plain = ('preactresnet50', 'wrn28_10', 'pyramidnet101', 'inception_v3', 'resnet50', 'cmpese_scnet50')
    assert [found[name] for name in plain] == [
        'PreAct-ResNet', 'WRN', 'PyramidNet', 'Inception', 'ResNet', 'SCNet'
    ]  # fmt: skip
    assert (found['se_wrn28_10'], found['cmpese_wrn28_10_pair_1x1']) == ('SE', 'CMPE-SE')


@pytest.mark.parametrize(
    ('changes', 'name'),
    [
        ({}, 'seresnet50'),
        (dict(out_indices=(3,), init_cfg=None), 'seresnet50'),
        (dict(attention=dict(position='standard', squeeze='avg')), 'seresnet50'),
        (dict(attention=dict(position='post')), None),
        (dict(attention=dict(excitation='tanh')), None),
        (dict(attention=dict(squeeze='max')), None),
        (dict(attention=dict(stages=(True, False, True, True))), None),
    ],
    ids=str,
)
def test_what_the_zoo_has(changes, name):
    assert zoo_name(dict(type='inimg_mm.SEResNet', depth=50, **changes)) == name
