"""Every published layout: peer's weights -> ours, the same features, and back bit by bit."""

from typing import NamedTuple

import pytest
import torch

from helpers.nets import features, image, randomise
from inimg_mm import zoo
from inimg_mm.checkpoints import LAYOUTS, detect, from_native, to_native

TOLERANCE = 1e-9


class Pair(NamedTuple):
    """A peer and the model of ours that holds its weights."""

    project: str
    peer: str
    peer_options: dict = {}
    name: str = ''
    options: dict = {}
    detected: str = 'inimg_mm'
    target: str = ''
    size: int = 64

    def __str__(self):
        return ' '.join([self.project, self.peer, *(f'{k}={v}' for k, v in self.peer_options.items())])

    def build_peer(self):
        if self.project == 'torchvision':
            return pytest.importorskip('torchvision').models.get_model(self.peer, weights=None)
        if self.project == 'timm':
            return pytest.importorskip('timm').create_model(self.peer, pretrained=False)
        backbones = pytest.importorskip(f'{self.project}.models.backbones')
        return getattr(backbones, self.peer)(out_indices=(0, 1, 2, 3), **self.peer_options)


WIDE = dict(base_width=128)
V1D = zoo.V1D
LEGACY = dict(stem_ceil_mode=True)

PAIRS = [
    Pair('torchvision', 'resnet18', name='resnet18'),
    Pair('torchvision', 'resnet50', name='resnet50'),
    Pair('torchvision', 'resnext50_32x4d', name='resnext50_32x4d'),
    Pair('torchvision', 'wide_resnet50_2', name='resnet50', options=WIDE),
    Pair('timm', 'resnet18', name='resnet18'),
    Pair('timm', 'resnet34', name='resnet34'),
    Pair('timm', 'resnet50', name='resnet50'),
    Pair('timm', 'resnet101', name='resnet101'),
    Pair('timm', 'resnet152', name='resnet152'),
    Pair('timm', 'resnet50d', name='resnet50_v1d'),
    Pair('timm', 'resnet101d', name='resnet101_v1d'),
    Pair('timm', 'resnext50_32x4d', name='resnext50_32x4d'),
    Pair('timm', 'wide_resnet50_2', name='resnet50', options=WIDE),
    Pair('timm', 'seresnet18', name='seresnet18', options=dict(attention=dict(divisor=8)), detected='timm'),
    Pair('timm', 'seresnet34', name='seresnet34', options=dict(attention=dict(divisor=8)), detected='timm'),
    Pair('timm', 'seresnet50', name='seresnet50', detected='timm'),
    Pair('timm', 'seresnet101', name='seresnet101', detected='timm'),
    Pair('timm', 'seresnext50_32x4d', name='seresnext50_32x4d', detected='timm'),
    Pair('timm', 'seresnext101_32x4d', name='seresnext101_32x4d', detected='timm'),
    Pair(
        'timm',
        'legacy_seresnet50',
        name='seresnet50',
        options=dict(LEGACY, style='caffe'),
        detected='timm_legacy',
        target='timm_legacy',
        size=63,
    ),
    Pair(
        'timm',
        'legacy_seresnext50_32x4d',
        name='seresnext50_32x4d',
        options=LEGACY,
        detected='timm_legacy',
        target='timm_legacy',
        size=63,
    ),
    Pair('mmdet', 'ResNet', dict(depth=50), 'resnet50'),
    Pair('mmdet', 'ResNetV1d', dict(depth=18), 'resnet18', V1D, 'mmdet'),
    Pair('mmdet', 'ResNetV1d', dict(depth=50), 'resnet50_v1d', detected='mmdet'),
    Pair('mmpretrain', 'ResNet', dict(depth=50), 'resnet50'),
    Pair('mmpretrain', 'ResNet', dict(depth=50, base_channels=128, expansion=2), 'resnet50', WIDE),
    Pair('mmpretrain', 'ResNetV1c', dict(depth=50), 'resnet50', dict(deep_stem=True), 'mmpretrain'),
    Pair('mmpretrain', 'ResNetV1d', dict(depth=18), 'resnet18', V1D, 'mmpretrain'),
    Pair('mmpretrain', 'ResNetV1d', dict(depth=50), 'resnet50_v1d', detected='mmpretrain'),
    Pair(
        'mmpretrain', 'ResNet', dict(depth=50, avg_down=True), 'resnet50', dict(avg_down=True), 'mmpretrain'
    ),
    Pair('mmpretrain', 'SEResNet', dict(depth=50), 'seresnet50'),
    Pair('mmpretrain', 'SEResNet', dict(V1D, depth=50), 'seresnet50', V1D, 'mmpretrain'),
    Pair('mmpretrain', 'SEResNeXt', dict(depth=50), 'seresnext50_32x4d'),
    Pair('mmpretrain', 'SEResNeXt', dict(V1D, depth=50), 'seresnext50_32x4d', V1D, 'mmpretrain'),
    Pair('mmpose', 'SEResNet', dict(depth=50), 'seresnet50'),
    Pair('mmpose', 'SEResNet', dict(V1D, depth=50), 'seresnet50', V1D, 'mmpretrain'),
    Pair('mmpose', 'SCNet', dict(depth=50), 'scnet50', detected='mmpose_scnet', size=128),
    Pair('mmpose', 'SCNet', dict(V1D, depth=50), 'scnet50', V1D, 'mmpose_scnet', size=128),
    Pair('mmpose', 'SCNet', dict(depth=101), 'scnet101', detected='mmpose_scnet', size=128),
]


def is_deep(pair):
    return zoo.get(pair.name).config['depth'] > 50


def filled(name, options, state):
    """A model of ours that holds ``state`` itself: every tensor fits, and none is left over."""
    with torch.device('meta'):
        net = zoo.build(name, **options)
    net.load_state_dict(state, strict=True, assign=True)
    return net.eval()


def without_classifier(state):
    return {name: value for name, value in state.items() if not name.startswith('fc.')}


@pytest.mark.parametrize(
    'pair', [pytest.param(p, marks=pytest.mark.slow if is_deep(p) else (), id=str(p)) for p in PAIRS]
)
def test_same_features_and_back(pair):
    peer = randomise(pair.build_peer()).double()
    peer.eval()  # which returns None in the hosts
    state = peer.state_dict()
    assert detect(state) == pair.detected
    native = to_native(state)
    assert set(state) >= set(without_classifier(native)) or pair.detected != 'inimg_mm'
    ours = filled(pair.name, pair.options, without_classifier(native))
    x = image(pair.size, pair.size, batch=1, dtype=torch.float64)
    maps, expected = features(ours, x), features(peer, x)
    assert all(0.01 < e.std() < 1e3 for e in expected)
    difference = max((m - e).abs().max().item() for m, e in zip(maps, expected, strict=True))
    print(f'{pair} | {pair.name} | {difference:.1e}')
    assert difference < TOLERANCE

    assert detect(native) == 'inimg_mm'
    assert_same_objects(to_native(native), native)
    back = from_native(native, pair.target or pair.project)
    assert_same_objects(back, state)


def assert_same_objects(actual, expected):
    """Same names, and the very same tensors: bit by bit."""
    assert set(actual) == set(expected)
    assert all(actual[name] is expected[name] for name in expected)


# ---- the authors' SCNet ---------------------------------------------------------------------------------


def authors_names(depths, v1d):
    """What the authors' release calls its tensors: the stem, the blocks' two branches, the classifier."""
    norm = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    convs, norms = ['conv1.0', 'conv1.3', 'conv1.6'] if v1d else ['conv1'], ['bn1']
    norms += ['conv1.1', 'conv1.4'] if v1d else []
    for stage, blocks in enumerate(depths, 1):
        for block in range(blocks):
            prefix = f'layer{stage}.{block}'
            parts = ['conv1_a', 'conv1_b', 'k1.0', 'scconv.k2.1', 'scconv.k3.0', 'scconv.k4.0', 'conv3']
            convs += [f'{prefix}.{part}' for part in parts]
            parts = ['bn1_a', 'bn1_b', 'k1.1', 'scconv.k2.2', 'scconv.k3.1', 'scconv.k4.1', 'bn3']
            norms += [f'{prefix}.{part}' for part in parts]
        convs.append(f'layer{stage}.0.downsample.{1 if v1d else 0}')
        norms.append(f'layer{stage}.0.downsample.{2 if v1d else 1}')
    names = {f'{conv}.weight' for conv in convs} | {f'{name}.{part}' for name in norms for part in norm}
    return names | {'fc.weight', 'fc.bias'}


@pytest.mark.parametrize(
    ('name', 'depths', 'v1d'),
    [
        ('scnet50', (3, 4, 6, 3), False),
        ('scnet50_v1d', (3, 4, 6, 3), True),
        ('scnet101', (3, 4, 23, 3), False),
        ('scnet101_v1d', (3, 4, 23, 3), True),
        ('scnext50', (3, 4, 6, 3), False),
    ],
)
def test_authors_names_are_ours(name, depths, v1d):
    with torch.device('meta'):
        state = zoo.build(name).state_dict()
    state = {**state, 'fc.weight': torch.zeros(1000, 2048), 'fc.bias': torch.zeros(1000)}
    assert set(state) == authors_names(depths, v1d)
    assert detect(state) == 'inimg_mm'
    assert_same_objects(to_native(state), state)
    assert_same_objects(from_native(state, 'scnet_authors'), state)


# ---- the functions --------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def native_states():
    """Weights of every model of the zoo, without memory behind them."""
    with torch.device('meta'):
        return {name: zoo.build(name).state_dict() for name in zoo.MODELS}


def test_native_names_stay_the_same_objects(native_states):
    for state in native_states.values():
        names = list(state)
        assert detect(state) == 'inimg_mm'
        for source in ('auto', 'inimg_mm', 'torchvision', 'scnet_authors', 'mmdet', 'mmpretrain', 'timm'):
            assert_same_objects(to_native(state, source), state)
        assert list(to_native(state)) == names


ALL = set(LAYOUTS)
PLACES = {
    'plain': ALL,
    'v1d': ALL - {'torchvision', 'timm_legacy', 'pytorchcv'},
    'se': ALL - {'torchvision', 'mmpose_scnet', 'scnet_authors'},
    'scnet': {'inimg_mm', 'scnet_authors', 'mmpose', 'mmpose_scnet', 'pytorchcv'},
    'inception': {'torchvision', 'timm', 'mmpretrain', 'pytorchcv', 'inimg_mm'},
    'preactivation': {'pytorchcv', 'inimg_mm'},
    'gate': {'inimg_mm'},
}
"""The layouts that have a place for each kind of net."""


def kind_of(name):
    if name.startswith(('cmpese', 'ini_', 'se_')):  # SE in families where others have none
        return 'gate'
    if name.startswith('inception'):
        return 'inception'
    if name.startswith(('preact', 'wrn', 'pyramid')):
        return 'preactivation'
    if name.startswith('sc'):
        return 'scnet'
    return 'se' if name.startswith('se') else 'v1d' if name.endswith('v1d') else 'plain'


@pytest.mark.parametrize('target', LAYOUTS)
def test_there_and_back_wherever_there_is_a_place(native_states, target):
    for name, state in native_states.items():
        state = {**state, 'fc.weight': torch.zeros(1), 'fc.bias': torch.zeros(1)}
        before = dict(state)
        if target not in PLACES[kind_of(name)]:
            with pytest.raises(ValueError, match=rf"^{target}.* has no place for \S+; .*'inimg_mm'"):
                from_native(state, target)
            continue
        theirs = from_native(state, target)
        assert_same_objects(state, before)
        assert len(theirs) == len(state)
        assert_same_objects(to_native(theirs), state)


def test_dilated_v1d_of_mmpretrain():
    """mmpretrain leaves the pool out wherever the stride is 1; the weights say where."""
    backbones = pytest.importorskip('mmpretrain.models.backbones')
    dilated = dict(depth=50, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), base_channels=16, stem_channels=16)
    peer = randomise(backbones.ResNetV1d(out_indices=(0, 1, 2, 3), **dilated)).double()
    peer.eval()
    ours = filled('resnet50_v1d', dilated, to_native(peer.state_dict()))
    x = image(64, 64, dtype=torch.float64)
    for actual, expected in zip(features(ours, x), features(peer, x), strict=True):
        assert (actual - expected).abs().max() < TOLERANCE


def test_self_calibrated_convolutions_in_a_hosts_resnet_are_no_scnet():
    backbones = pytest.importorskip('mmdet.models.backbones')
    net = backbones.ResNet(50, conv_cfg=dict(type='inimg_mm.SCConv'), base_channels=8, stem_channels=8)
    state = net.state_dict()
    assert any('.scconv.' in name for name in state)
    assert detect(state) == 'inimg_mm'
    assert_same_objects(from_native(state, 'mmdet'), state)


@pytest.mark.parametrize('name', ['tensorflow', 'auto', ''])
def test_unknown_layouts(name):
    with pytest.raises(ValueError, match=rf"unknown layout '{name}'; choose from .*'timm', 'mmpose_scnet'"):
        from_native({}, name)
    if name != 'auto':
        with pytest.raises(ValueError, match='unknown layout'):
            to_native({}, name)
