"""What a host's config says in its own words to a backbone of this package, and leaves unsaid."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from helpers.nets import image, randomise, tiny
from inimg_mm import zoo
from inimg_mm.registry import MODELS

NETS = ['resnet18', 'cmpese_resnet50_pair_1x1', 'scnet50']


@pytest.mark.parametrize(
    ('host', 'stages'),
    [
        ('mmpretrain', (3,)),
        ('mmpose', (3,)),
        ('mmdet', (0, 1, 2, 3)),
        ('mmseg', (0, 1, 2, 3)),
        ('mmengine', (0, 1, 2, 3)),
    ],
)
@pytest.mark.parametrize('name', NETS)
def test_out_indices_follow_the_host_that_builds(name, host, stages):
    with DefaultScope.overwrite_default_scope(host):
        net = tiny(name)
        asked = tiny(name, out_indices=(1, 2))
    assert net.out_indices == stages
    assert asked.out_indices == (1, 2)
    with torch.no_grad():
        assert [m.shape[1] for m in net(image(32, 32))] == list(net.out_channels)
    assert tiny(name).state_dict().keys() == net.state_dict().keys()


def test_fewer_stages_end_earlier():
    few = dict(num_stages=2, strides=(1, 2), dilations=(1, 1))
    assert tiny('resnet18', **few).out_indices == (0, 1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert tiny('resnet18', **few).out_indices == (1,)


def test_pretrained_is_a_checkpoint_to_start_from(tmp_path):
    source = randomise(tiny('scnet50'))
    torch.save(source.state_dict(), tmp_path / 'scnet.pth')
    net = tiny('scnet50', pretrained=str(tmp_path / 'scnet.pth'))
    net.init_weights()
    loaded = net.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())
    assert tiny('scnet50', pretrained=None).init_cfg == tiny('scnet50').init_cfg


def test_pretrained_that_does_not_fit_is_refused_as_init_cfg_is(tmp_path):
    torch.save(randomise(tiny('resnet50')).state_dict(), tmp_path / 'resnet.pth')
    net = tiny('seresnet50', pretrained=str(tmp_path / 'resnet.pth'))
    with pytest.raises(ValueError, match='warm_start=True'):
        net.init_weights()


def test_mmseg_hands_pretrained_on(tmp_path):
    pytest.importorskip('mmseg', reason='semantic segmentation needs mmseg (extra seg)')
    source = randomise(tiny('seresnet18'))
    torch.save(source.state_dict(), tmp_path / 'seresnet.pth')
    head = dict(
        type='FCNHead',
        in_channels=128,
        in_index=3,
        channels=8,
        num_convs=1,
        num_classes=2,
        loss_decode=dict(type='CrossEntropyLoss'),
    )
    model = dict(
        type='mmseg.EncoderDecoder',
        pretrained=str(tmp_path / 'seresnet.pth'),
        backbone=dict(zoo.get('seresnet18').config, base_channels=16, stem_channels=16),
        decode_head=head,
        test_cfg=dict(mode='whole'),
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        net = MODELS.build(ConfigDict(model))
    net.init_weights()
    assert torch.equal(net.backbone.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_width_per_group_is_the_base_width():
    theirs = dict(zoo.get('resnext50_32x4d').config, base_width=None, width_per_group=4)
    net, ours = MODELS.build(theirs), zoo.build('resnext50_32x4d')
    assert [p.shape for p in net.parameters()] == [p.shape for p in ours.parameters()]
    assert tiny('resnet50', width_per_group=32, base_width=32).layer1[0].conv2.out_channels == 8
    assert tiny('scnet50', width_per_group=64).layer1[0].k1[0].out_channels == 16


@pytest.mark.parametrize('name', ['resnet18', 'resnet50', 'seresnet50', 'scnet50'])
def test_norms_that_do_not_learn_are_not_zeroed(name):
    net = tiny(name, norm_cfg=dict(type='BN', requires_grad=False))
    net.init_weights()
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(torch.all(norm.weight == 1) for norm in norms)
    sum(m.square().mean() for m in net(image(32, 32))).backward()
    learn = [parameter for parameter in net.parameters() if parameter.requires_grad]
    assert all(parameter.grad.abs().sum() > 0 for parameter in learn)


def test_frozen_blocks_are_not_zeroed():
    net = tiny('resnet18', frozen_stages=2)
    net.init_weights()
    zeroed = {stage for stage in net.stage_names if torch.all(net.get_submodule(stage)[0].bn2.weight == 0)}
    assert zeroed == {'layer3', 'layer4'}
