"""Weights of another net are refused with the sentence that says what to write."""

import re

import pytest
import torch
from torch import nn

from helpers.nets import randomise, tiny
from helpers.pretrained import assert_refused, assert_same, initialised, save
from inimg_mm import zoo
from inimg_mm.checkpoints import CheckpointError, Pretrained

OTHERS = {
    'deeper': ('resnet50', {}, 'resnet101', {}, r'has no place for \d+ of its tensors, e\.g\. layer3\.6\.'),
    'shallower': ('resnet50', {}, 'resnet18', {}, r'fit this ResNet: .*missing: .*of another shape'),
    'gated': (
        'resnet50',
        {},
        'seresnet50',
        {},
        r'no place for 64 of its tensors, e\.g\. layer1\.0\.se_layer',
    ),
    'another gate': ('cmpese_resnet50_pair_1x1', {}, 'cmpese_resnet50_double_fc', {}, r'no place for \d+'),
    'deep stem': (
        'resnet50',
        {},
        'resnet50',
        dict(deep_stem=True),
        r'no place for .*conv1\.0\.weight',
    ),
    'plain stem': ('resnet50_v1d', {}, 'resnet50', zoo.V1D | dict(deep_stem=False), r'no place for 1 of its'),
    'wider': ('resnet18', {}, 'resnet18', dict(base_channels=32), r'is \(32, 16.*\) and should be \(16, 16'),
    'a ResNet in an SCNet': ('scnet50', {}, 'resnet50', {}, r'fit this SCNet: .*missing: .*no place for'),
    'an SCNet in a ResNet': ('resnet50', {}, 'scnet50', {}, r'fit this ResNet: .*missing: .*no place for'),
}


@pytest.mark.parametrize('case', OTHERS)
def test_weights_of_another_net(case, tmp_path):
    name, options, other, other_options, message = OTHERS[case]
    path = save(tmp_path, tiny(other, **other_options))
    text = assert_refused(tiny(name, **options), path, message)
    assert text.startswith(f'{path} (inimg_mm names) does not fit this ')
    known = r'The file fits \w[\w, ]* with base_channels=\d+|It fits no model of the zoo either'
    assert re.search(rf'\. ({known}); give the weights of this net, or init_cfg=None$', text)
    assert case != 'wider' or 'The file fits resnet18 with base_channels=32;' in text


@pytest.mark.parametrize(
    ('others', 'says'),
    [(0, 'write init_cfg=None in this part'), (2, 'in this part, or min_loaded=0.6 to load what fits')],
)
def test_a_head_of_other_classes(tmp_path, others, says):
    """Of a last layer alone nothing fits; of a part with other layers these can be had."""
    trained, head = (
        nn.Sequential(*(nn.Linear(8, 8) for _ in range(others)), nn.Linear(8, classes)) for classes in (3, 2)
    )
    path = save(tmp_path, trained)
    with pytest.raises(CheckpointError) as refused:
        Pretrained(path)(head)
    assert str(refused.value).endswith(says)
    if others:
        Pretrained(path, min_loaded=0.6)(head)
        assert torch.equal(head[0].weight, trained[0].weight)


def test_weights_of_another_architecture(tmp_path):
    state = {'features.0.0.weight': torch.ones(32, 3, 3, 3), 'classifier.1.weight': torch.ones(10, 1280)}
    message = r'0 of 100 tensors \(0\.0%\); missing: .*unexpected: 1 features\.\*, 1 classifier\.\*'
    assert_refused(tiny('resnet18'), save(tmp_path, state), message)


def test_what_a_file_fits_is_named(tmp_path):
    with torch.device('meta'):
        shapes = zoo.build('seresnet18').state_dict()
    state = {name: torch.zeros((), dtype=v.dtype).expand(v.shape) for name, v in shapes.items()}
    path = save(tmp_path, state)
    text = assert_refused(tiny('scnet50'), path, r'The file fits seresnet18; give the weights of this net')
    assert 'http' not in text  # the authors have no SCNet of this width


def test_plain_weights_in_a_gated_net(tmp_path):
    path = save(tmp_path, tiny('resnet50'))
    says = (
        r"These are a plain net's weights and this net has gates: write "
        rf"init_cfg=dict\(type='inimg_mm\.Pretrained', checkpoint='{re.escape(path)}', warm_start=True\)"
    )
    for name in ('seresnet50', 'cmpese_resnet50_double_fc', 'ini_resnet50_daf'):
        assert_refused(tiny(name), path, f'{says}$')
        stages = r'attention=dict\(…, stages=\(False, False, True, True\)\), or frozen_stages=0 or less'
        further = rf'the gates of frozen stages \(frozen_stages=2\) could never learn: write {stages}'
        assert_refused(tiny(name, frozen_stages=2), path, rf'{says}\. Then {further}$')
    state = {f'student.{name}': value for name, value in tiny('resnet50').state_dict().items()}
    path, message = save(tmp_path, state), r"pth', prefix='student', warm_start=True\)$"
    assert_refused(tiny('seresnet50'), path, message, prefix='student')


def test_plain_weights_in_a_host_net_with_our_plugins(tmp_path):
    backbones = pytest.importorskip('mmdet.models.backbones')
    plugin = dict(cfg=dict(type='inimg_mm.SE'), position='after_conv3')
    net = backbones.ResNet(50, base_channels=16, stem_channels=16, plugins=[plugin])
    path = save(tmp_path, tiny('resnet50'))
    assert 'warm_start' not in assert_refused(net, path, r'min_loaded=0\.99 wants more')
    Pretrained(path, min_loaded=0.8)(net)


PARTS = {
    'one part': ('seresnet18', {}, ['net'], r"1 of its parts fits: write (init_cfg=.*, prefix='net'\))$"),
    'two parts': (
        'seresnet18', {}, ['base_encoder', 'momentum.encoder'],
        r"2 of its parts fit: write (init_cfg=.*, prefix='base_encoder'\)) or 'momentum\.encoder'$",
    ),
    'in a backbone': ('seresnet18', {}, ['backbone.body'], r"(init_cfg=.*, prefix='backbone\.body'\))$"),
    'a warm start': (
        'resnet18', dict(warm_start=True), ['model'], r"(init_cfg=.*, prefix='model', warm_start=True\))$"
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', PARTS)
def test_a_prefix_that_is_missing_is_named(tmp_path, case):
    name, options, parts, message = PARTS[case]
    source = randomise(tiny(name)).state_dict()
    state = {f'{part}.{key}': value for part in parts for key, value in source.items()}
    path = save(tmp_path, {**state, 'head.weight': torch.ones(1)})
    text = assert_refused(tiny('seresnet18'), path, message, **options)
    written = eval(re.search(message, text)[1].removeprefix('init_cfg='))
    net = tiny('seresnet18', init_cfg=written)
    net.init_weights()
    assert torch.equal(net.conv1.weight, source['conv1.weight'])


# ---- arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('min_loaded', [-0.1, 1.01, 99, None, 'all'])
def test_min_loaded_is_a_share(min_loaded):
    with pytest.raises(ValueError, match=rf'min_loaded is a share from 0 to 1, got {min_loaded!r}'):
        Pretrained('x.pth', min_loaded=min_loaded)


def test_unknown_source():
    with pytest.raises(ValueError, match=r"unknown layout 'caffe'; choose from .*'timm'"):
        Pretrained('x.pth', source='caffe')


def test_mmengines_arguments(tmp_path):
    source = randomise(tiny('resnet18'))
    state = {f'student.net.{name}': value for name, value in source.state_dict().items()}
    path = save(tmp_path, state)
    loading = dict(type='Pretrained', checkpoint=path, prefix='student.net', map_location='cpu')
    net = tiny('resnet18', init_cfg=loading)
    net.init_weights()
    assert_same(net, source.state_dict())


def test_an_initialiser_that_would_overwrite(tmp_path):
    net = tiny('resnet18')
    path = save(tmp_path, net)
    net.init_cfg = [dict(type='inimg_mm.Pretrained', checkpoint=path), dict(type='Kaiming', layer='Conv2d')]
    assert_refused(net, path, 'init_cfg lists Kaiming after Pretrained.*: put Pretrained last')


@pytest.mark.parametrize('kind', ['Pretrained', 'inimg_mm.Pretrained'])
def test_pretrained_comes_last_wherever_it_is_listed(tmp_path, kind):
    source = randomise(tiny('resnet18'))
    loading = dict(type=kind, checkpoint=save(tmp_path, source))
    net = tiny('resnet18', init_cfg=[loading, dict(type='Kaiming', layer='Conv2d')])
    net.init_weights()
    assert_same(net, source.state_dict())


def test_missing_file_stops_the_initialisation(tmp_path):
    with pytest.raises(CheckpointError, match=r'there is no checkpoint .*none\.pth'):
        initialised('resnet18', str(tmp_path / 'none.pth'), how='Pretrained')
