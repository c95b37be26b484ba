"""Gates as plugin layers of a host's own backbone."""

import pytest
import torch

from helpers.nets import image, randomise
from inimg_mm.models.attention import InnerImaging, InnerImagingPlugin, SEPlugin
from inimg_mm.registry import MODELS

pytest.importorskip('mmdet')

from mmdet.models.backbones import ResNet as MMDetResNet

WIDTH = dict(depth=50, base_channels=16, stem_channels=16)
# mmdet takes its gates by stage, and a plugin is not told the base width: `maps` says it.
ONE_STREAM = dict(filters=((1, 1), (3, 3)), fold=8, maps=3)


def assert_same_net(ours, theirs):
    theirs.double().load_state_dict(randomise(ours.double()).state_dict(), strict=True)
    x = image(64, 64, dtype=torch.float64)
    for training in (False, True):
        ours.train(training)
        theirs.train(training)
        for a, b in zip(ours(x), theirs(x), strict=True):
            assert (a - b).abs().max() < 1e-9


@pytest.mark.parametrize(
    ('plugin', 'attention'),
    [
        (dict(type='inimg_mm.SE'), dict(type='SE')),
        (dict(type='inimg_mm.SE', reduction=4, bias=False), dict(type='SE', reduction=4, bias=False)),
        (
            dict(type='inimg_mm.InnerImaging', **ONE_STREAM),
            dict(type='InnerImaging', streams=1, **ONE_STREAM),
        ),
    ],
    ids=['SE', 'SE with options', 'InnerImaging'],
)
def test_mmdet_resnet_with_the_plugin_is_our_gated_resnet(plugin, attention):
    theirs = MMDetResNet(plugins=[dict(cfg=plugin, position='after_conv3')], norm_eval=False, **WIDTH)
    ours = MODELS.build(dict(type='inimg_mm.ResNet', attention=attention, **WIDTH))
    assert_same_net(ours, theirs)


def test_plugin_in_some_stages():
    plugin = dict(cfg=dict(type='inimg_mm.SE'), position='after_conv3', stages=(False, False, True, True))
    theirs = MMDetResNet(plugins=[plugin], norm_eval=False, **WIDTH)
    ours = MODELS.build(
        dict(type='inimg_mm.SEResNet', attention=dict(stages=(False, False, True, True)), **WIDTH)
    )
    assert_same_net(ours, theirs)


def test_plugin_rescales_its_input():
    plugin, x = SEPlugin(32), torch.randn(2, 32, 5, 5)
    torch.testing.assert_close(plugin(x), x * super(SEPlugin, plugin).forward(x))
    plugin = InnerImagingPlugin(32, fold=8)
    assert isinstance(plugin, InnerImaging)
    assert not plugin.needs_shortcut
    assert plugin.eval()(x).shape == x.shape


def test_plugin_of_two_streams_is_refused():
    with pytest.raises(ValueError, match=r"no shortcut.*type='SE'.*streams=1"):
        InnerImagingPlugin(32, streams=2)
