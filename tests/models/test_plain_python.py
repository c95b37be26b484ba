"""The backbones as plain PyTorch modules: imported by name, initialised by a line, in torchvision's FPN."""

import pytest
import torch
from mmengine.logging import MMLogger
from torchvision.models.detection.backbone_utils import BackboneWithFPN

from helpers.nets import randomise, tiny
from helpers.pretrained import save
from inimg_mm import models
from inimg_mm.models import SCNet, SEResNet
from inimg_mm.models.backbones import Backbone


def test_every_backbone_is_exported():
    """By the name that a config has."""
    for name in models.backbones.__all__:
        assert getattr(models, name) is getattr(models.backbones, name)
    assert issubclass(SCNet, Backbone)


@pytest.fixture
def log():
    """Open a logger of this test's own, which prints."""
    yield lambda **options: MMLogger.get_instance('plain', logger_name='plain', **options)
    MMLogger._instance_dict.pop('plain')


def test_from_scratch_says_one_line(log, capsys):
    log()
    net = SCNet(depth=50, base_channels=16)
    net.init_weights()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(f'SCNet: {len(list(net.parameters()))} tensors from scratch')


def test_a_file_says_one_line_and_is_loaded(log, tmp_path, capsys):
    log()
    plain = randomise(tiny('resnet18'))
    init_cfg = dict(type='Pretrained', checkpoint=str(save(tmp_path, plain)), warm_start=True)
    net = SEResNet(depth=18, base_channels=16, init_cfg=init_cfg)
    net.init_weights()
    (line,) = capsys.readouterr().out.splitlines()
    assert 'weights.pth (inimg_mm names): 100 of 100 tensors (100.0%); 32 of the gates start neutral' in line
    assert torch.equal(net.conv1.weight, plain.conv1.weight)


def test_a_log_file_has_every_tensor(log, tmp_path, capsys):
    log(log_file=str(tmp_path / 'x.log'))
    SEResNet(depth=18, base_channels=16).init_weights()
    assert 'layer1.0.conv1.weight' in (tmp_path / 'x.log').read_text()
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('name', ['resnet50', 'resnet50_v1d', 'scnet50', 'ini_resnet50_daf'])
def test_in_torchvisions_pyramid(name):
    net = tiny(name).eval()
    layers = {f'layer{stage}': str(stage) for stage in (2, 3, 4)}
    pyramid = BackboneWithFPN(net, layers, list(net.out_channels[1:]), 32).eval()
    image = torch.randn(1, 3, 64, 64)
    maps = pyramid.body(image)
    for own, found in zip(net(image)[1:], maps.values(), strict=True):
        assert torch.equal(own, found)
    assert [found.shape[1] for found in pyramid(image).values()] == [32] * 4
