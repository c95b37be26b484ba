"""SCNet against mmpose's, against a plain second implementation, and in every form it has."""

import pytest
import torch

from helpers.nets import assert_declared_shapes, image, loss_of, randomise, tiny
from helpers.plain_scnet import TOLERANCE, PlainSCNet
from inimg_mm import zoo
from inimg_mm.checkpoints import to_native
from inimg_mm.zoo import complexity

V1D = dict(zoo.V1D, avd=True)
DILATED = {8: dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
           16: dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))}  # fmt: skip


def max_difference(actual, expected):
    assert len(actual) == len(expected)
    assert all(e.std() > 1e-3 for e in expected if e[0, 0].numel() > 1)
    return max((a - e).abs().max().item() for a, e in zip(actual, expected, strict=True))


FORMS = {
    'plain': ({}, {}),
    'v1d': (V1D, dict(avd=True)),
    'stride 8': (DILATED[8], DILATED[8]),
    'stride 16': (DILATED[16], DILATED[16]),
    'v1d, stride 8': (dict(V1D, **DILATED[8]), dict(DILATED[8], avd=True)),
    'v1d, stride 16': (dict(V1D, **DILATED[16]), dict(DILATED[16], avd=True)),
    'groups': (dict(groups=4, base_width=16), {}),
    'groups, v1d, stride 8': (
        dict(V1D, groups=2, base_width=16, **DILATED[8]), dict(DILATED[8], avd=True)
    ),
    'avg_down alone': (dict(avg_down=True), {}),
    'max': (dict(pooling='max'), dict(pooling='max')),
    'no identity': (dict(identity=False), dict(identity=False)),
    'max, no identity, v1d': (
        dict(V1D, pooling='max', identity=False), dict(pooling='max', identity=False, avd=True)
    ),
    'r = 2': (dict(pooling_r=2), dict(r=2)),
    'r = 7': (dict(pooling_r=7), dict(r=7)),
}  # fmt: skip


@pytest.mark.parametrize('form', FORMS)
def test_against_the_plain_implementation(form):
    options, plain = FORMS[form]
    net = randomise(tiny('scnet50', **options)).double()
    differences = []
    for training in (False, True):
        for size in ((64, 64), (75, 53)):
            second = PlainSCNet(net.state_dict(), training, **plain)
            x = image(*size, dtype=torch.float64)
            with torch.no_grad():
                differences.append(max_difference(net.train(training)(x), second(x)))
    print(f'{form}: max difference {max(differences):.1e}')
    assert max(differences) < TOLERANCE


@pytest.mark.parametrize('size', [(32, 32), (33, 47), (1, 64), (32, 1), (97, 32), (130, 66)], ids=str)
@pytest.mark.parametrize('options', [{}, dict(V1D, **DILATED[8]), dict(pooling='max', pooling_r=5)], ids=str)
def test_maps_smaller_than_the_pooling_window_and_odd_ones(options, size):
    net = randomise(tiny('scnet50', **options)).double().eval()
    plain = {
        'r' if key == 'pooling_r' else key: value for key, value in options.items() if key not in zoo.V1D
    }
    second = PlainSCNet(net.state_dict(), **plain)
    x = image(*size, batch=1, dtype=torch.float64)
    with torch.no_grad():
        assert max_difference(assert_declared_shapes(net, x), second(x)) < TOLERANCE


MMPOSE = {
    '50': {},
    '50 deep_stem': dict(deep_stem=True),
    '50 deep_stem, avg_down': zoo.V1D,
    '50 avg_down': dict(avg_down=True),
}


@pytest.mark.parametrize('form', [*MMPOSE, pytest.param('101', marks=pytest.mark.slow)])
def test_against_mmpose(form):
    backbones = pytest.importorskip('mmpose.models.backbones')
    options, depth = MMPOSE.get(form, {}), int(form.split()[0])
    theirs = randomise(backbones.SCNet(depth, out_indices=(0, 1, 2, 3), **options)).double()
    ours = zoo.build(f'scnet{depth}', **options).double()
    ours.load_state_dict(to_native(theirs.state_dict()), strict=True)
    x, differences = image(128, 128, dtype=torch.float64), []  # mmpose cannot pool maps smaller than r
    for training in (False, True):
        ours.train(training)
        theirs.train(training)
        with torch.no_grad():
            differences.append(max_difference(ours(x), theirs(x)))
    for name, value in to_native(theirs.state_dict()).items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=TOLERANCE, msg=name)
    print(f'mmpose SCNet-{form}: max difference {max(differences):.1e}')
    assert max(differences) < TOLERANCE


PUBLISHED = {
    name: model for name, model in zoo.MODELS.items() if name.startswith(('scnet', 'scnext')) and model.params
}


def test_published_figures_are_those_of_the_papers():
    assert {name: model.params for name, model in PUBLISHED.items()} == {
        'scnet50': 25_564_584,
        'scnet50_v1d': 25_583_816,
        'scnet101': 44_565_416,
        'scnet101_v1d': 44_689_192,
        'scnext50': 25_044_008,
    }
    gmacs = {name: model.gmacs for name, model in PUBLISHED.items() if model.gmacs}
    assert gmacs == {'scnet50': 3.95, 'scnet50_v1d': 4.71, 'scnet101': 7.21}


@pytest.mark.parametrize('name', PUBLISHED)
def test_counts(name):
    size, published = complexity.measure(name), PUBLISHED[name]
    assert size.params == published.params
    if published.gmacs:
        # as the authors count: with the norms; and to the last digit, with the additions of the classifier
        assert (size.macs + size.norms) / 1e9 == pytest.approx(published.gmacs, rel=0.001)
        assert round((size.macs + size.norms + 2048 * 1000) / 1e9, 2) == published.gmacs


def test_norms_are_counted_as_the_shapes_say():
    # a stem of 16 x 32 x 32; blocks of 2 x w, 2 x w and 4w values at 16 x 16, and one projection
    size = complexity.measure(
        'resnet50', 64, 0, base_channels=16, num_stages=1, out_indices=(0,), strides=(1,), dilations=(1,)
    )
    assert size.norms == 2 * (16 * 32 * 32 + (3 * (2 * 16 + 64) + 64) * 16 * 16)


GATED = {
    'SE': dict(type='SE'),
    'CMPE-SE': dict(type='CMPESE', view='pair_1x1'),
    'CMPE-SE folded': dict(type='CMPESE', view='folded_3x3'),
    'Inner-Imaging': dict(type='InnerImaging'),
}


@pytest.mark.parametrize('attention', GATED)
def test_gates_see_what_comes_after_the_last_norm(attention):
    net = randomise(tiny('scnet50', attention=GATED[attention], **V1D)).eval()
    block, x = net.layer2[0], torch.randn(2, 64, 16, 16)
    with torch.no_grad():
        shortcut, residual = block.downsample(x), block.branch(x)
        expected = (shortcut + block.gate_module(residual, shortcut) * residual).relu()
        torch.testing.assert_close(block(x), expected)
    loss_of(assert_declared_shapes(net.train(), image(64, 64))).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(style='caffe'), "style='caffe': SCNet has its strides in the 3x3 convolutions"),
        (
            dict(dcn=dict(type='DCNv2'), stage_with_dcn=(False, True, True, True)),
            'SCNet has no deformable form',
        ),
        (dict(depth=18), r'SCNet has no depth 18; choose from \[50, 101, 152\]'),
        (dict(pooling='sum'), r"unknown pooling 'sum'; choose from \['avg', 'max'\]"),
        (dict(pooling_r=0), 'pooling_r must be an integer of at least 1, got 0'),
        (dict(pooling_r=2.5), 'pooling_r must be an integer of at least 1, got 2.5'),
        (dict(groups=32, base_width=1, base_channels=16), 'base_width=1 leaves no channel'),
    ],
    ids=str,
)
def test_what_scnet_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        tiny('scnet50', **options)
