"""A user's first step: in a host's own config, only ``type=`` of the backbone is changed."""

from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from mmengine.config import Config

from helpers.nets import randomise
from helpers.pretrained import build_detector
from inimg_mm import zoo
from inimg_mm.checkpoints import CheckpointError
from inimg_mm.checkpoints.addresses import NAMED
from inimg_mm.registry import MODELS

BASES = {
    'mmdet': 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mmpose': 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
    'mmpose, SE': 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_seresnet50_8xb64-210e_coco-256x192.py',
}
HOSTS = ['mmdet', 'mmpose']
"""Whose bases here start from torchvision's ResNet-50."""
URL = 'torchvision://resnet50'
STAGES = ('layer1', 'layer2', 'layer3', 'layer4')


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """Random weights of torchvision's ResNet-50, and a cache that holds them as its download."""
    models = pytest.importorskip('torchvision').models
    cache = tmp_path_factory.mktemp('cache')
    path = cache / 'hub' / 'checkpoints' / Path(urlparse(NAMED['torchvision']()['resnet50']).path).name
    path.parent.mkdir(parents=True)
    weights = models.resnet50(weights=None).state_dict()
    torch.save(weights, path)
    return weights, cache


@pytest.fixture
def config(published, monkeypatch, tmp_path):
    """Write and read a config that gives a host's base another backbone."""
    monkeypatch.setenv('TORCH_HOME', str(published[1]))

    def write(host, family, **further):
        pytest.importorskip(host.split(',')[0])
        options = ', '.join(f'{key}={value!r}' for key, value in further.items())
        path = tmp_path / 'config.py'
        path.write_text(
            f"_base_ = '{BASES[host]}'\nmodel = dict(backbone=dict(type='inimg_mm.{family}', {options}))\n"
        )
        return Config.fromfile(path)

    return write


@pytest.fixture
def first_step(config):
    """Build and initialise that backbone."""

    def take(host, family, **further):
        backbone = MODELS.build(config(host, family, **further).model.backbone)
        backbone.init_weights()
        return backbone

    return take


def assert_plain_weights(backbone, weights, doubled=()):
    """Everything is the file's; in the ``doubled`` stages the last norms are twice that."""
    own = backbone.state_dict()
    for name in set(weights) - {'fc.weight', 'fc.bias'}:
        is_last = name.endswith(('.bn3.weight', '.bn3.bias'))
        factor = 2 if is_last and name.startswith(doubled) else 1
        assert torch.equal(own[name], factor * weights[name]), name


@pytest.mark.parametrize('host', HOSTS)
def test_resnet_loads(host, first_step, published):
    assert_plain_weights(first_step(host, 'ResNet'), published[0])


@pytest.mark.parametrize('family', ['SEResNet', 'CMPESEResNet', 'InnerImagingResNet'])
@pytest.mark.parametrize('host', HOSTS)
def test_gated_nets_say_what_to_write(host, family, first_step, published):
    with pytest.raises(CheckpointError) as caught:
        first_step(host, family)
    message = str(caught.value)
    assert f'{URL} (inimg_mm names) does not fit this {family}: ' in message
    assert f"write init_cfg=dict(type='inimg_mm.Pretrained', checkpoint='{URL}', warm_start=True)" in message
    further = dict(init_cfg=dict(type='inimg_mm.Pretrained', checkpoint=URL, warm_start=True))
    doubled = STAGES
    if host == 'mmdet':  # whose base freezes the first stage
        assert 'write attention=dict(…, stages=(False, True, True, True)), or frozen_stages=0 or' in message
        further['attention'] = dict(stages=(False, True, True, True))
        doubled = STAGES[1:]
    else:
        assert 'frozen' not in message
    assert_plain_weights(first_step(host, family, **further), published[0], doubled)


@pytest.mark.parametrize('family', ['SCNet', 'SEResNeXt'])
@pytest.mark.parametrize('host', HOSTS)
def test_nets_of_another_shape_stop(host, family, first_step):
    with pytest.raises(CheckpointError) as caught:
        first_step(host, family)
    message = str(caught.value)
    assert f'does not fit this {family}: ' in message
    assert 'The file fits resnet50; give the weights of this net' in message
    assert message.endswith(', or init_cfg=None')
    assert (f'(published for scnet50: {AUTHORS})' in message) == (family == 'SCNet')
    first_step(host, family, init_cfg=None)


def test_mmpretrains_weights_by_their_name(first_step, published):
    source = randomise(zoo.build('seresnet50')).state_dict()
    classifier = {f'backbone.{name}': value for name, value in source.items()} | {
        'head.fc.bias': torch.ones(3)
    }
    name = Path(urlparse(NAMED['mmcls']()['se-resnet50']).path).name
    torch.save(dict(state_dict=classifier, meta={}), published[1] / 'hub' / 'checkpoints' / name)
    own = first_step('mmpose, SE', 'SEResNet').state_dict()
    assert all(torch.equal(own[name], source[name]) for name in own)
    with pytest.raises(CheckpointError, match=r'^mmcls://se-resnet50 .*The file fits seresnet50'):
        first_step('mmpose, SE', 'ResNet')


AUTHORS = 'https://backseason.oss-cn-beijing.aliyuncs.com/scnet/scnet50-dc6a7e87.pth'


@pytest.mark.slow
def test_whole_detector(config, published):
    detector = build_detector(config('mmdet', 'ResNet').model)
    detector.init_weights()
    assert_plain_weights(detector.backbone, published[0])
