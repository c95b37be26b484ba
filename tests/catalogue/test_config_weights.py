"""The weights that configs name load into their backbones, which then compute what the publisher's net does.

Nothing is fetched: in the place of each file stands one with random weights, in its publisher's names.
"""

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from helpers.nets import features, image, randomise
from inimg_mm import zoo
from inimg_mm.checking.weights import pretrained_nodes
from inimg_mm.checkpoints import Pretrained
from inimg_mm.errors import UsageError
from inimg_mm.launch import load_config
from inimg_mm.registry import MODELS

pytest.importorskip('mmdet', reason='the configs are of the hosts (extra mm)')
pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
PUBLISHED = {model.weights: name for name, model in zoo.MODELS.items() if model.weights}
INCEPTION = 'torchvision://inception_v3_google'
UNDILATED = dict(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1), multi_grid=None)
UNPADDED = dict(padding='valid')
"""What makes a net for dense prediction the one that the publisher trained."""


def written():
    """Every checkpoint that a file under configs/ names; configs read it from their bases."""
    texts = [file.read_text() for file in CONFIGS.rglob('*.py')]
    return sorted({name for text in texts for name in re.findall(r"checkpoint='([^']+)'", text)})


@cache
def read():
    """Every backbone that a config starts from a file: its settings, and its configs by name."""
    found = {}
    for file in sorted(CONFIGS.glob('[!_]*/*.py')):
        try:
            cfg = load_config(file)
        except UsageError as error:
            if 'is not installed' not in str(error):
                raise
            continue
        for path, node in pretrained_nodes(cfg.model):
            assert path == 'model.backbone', f'{file.name}: the weights of {path} are not checked here'
            settings = node.to_dict()
            found.setdefault(str(settings), (settings, {}))[1][file.name] = cfg
    return list(found.values())


def readers(checkpoint):
    """Those of a checkpoint."""
    found = [entry for entry in read() if entry[0]['init_cfg']['checkpoint'] == checkpoint]
    return found or pytest.skip(f'no config of an installed host reads {checkpoint}')


def publishers_net(checkpoint):
    """A net as the publisher of a checkpoint has it, its features' module, and how its file holds it."""
    if match := re.fullmatch(r'torchvision://(\w+)', checkpoint):
        models = pytest.importorskip('torchvision').models
        if checkpoint == INCEPTION:
            net = models.inception_v3(init_weights=False)
        else:
            net = models.get_model(match[1], weights=None)
        return net, net, lambda state: state
    name = PUBLISHED[checkpoint]
    if 'mmclassification' in checkpoint:
        family = 'SEResNeXt' if 'resnext' in name else 'SEResNet'
        models = pytest.importorskip('mmpretrain.models')
        backbone = dict(type=f'mmpretrain.{family}', depth=zoo.get(name).config['depth'])
        head = dict(type='mmpretrain.LinearClsHead', num_classes=1000, in_channels=2048)
        net = models.ImageClassifier(backbone, dict(type='mmpretrain.GlobalAveragePooling'), head)
        return net, net.backbone, lambda state: dict(meta=dict(epoch=100), state_dict=state)
    net = zoo.build(name)
    net.fc = torch.nn.Linear(2048, 1000)
    return net, net, lambda state: state


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put a stand-in where a checkpoint's download goes; returns the net whose weights it has."""

    def stand_in(checkpoint):
        net, featuring, wrap = publishers_net(checkpoint)
        randomise(net).eval()
        monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
        monkeypatch.setattr(
            torch.hub, 'download_url_to_file', lambda url, to, **_: torch.save(wrap(net.state_dict()), to)
        )
        return featuring.double()

    return stand_in


def test_every_checkpoint_is_of_a_known_publisher_and_all_that_configs_read_is_written():
    assert {node['init_cfg']['checkpoint'] for node, _ in read()} == set(written())
    for checkpoint in written():
        if not checkpoint.startswith('torchvision://'):
            assert checkpoint in PUBLISHED, f'zoo.py does not say which net {checkpoint} is of'


@pytest.mark.parametrize('checkpoint', written())
def test_backbones_hold_the_file_and_compute_what_its_net_does(checkpoint, publish):
    net = publish(checkpoint)
    x = image(80, 80, batch=1, dtype=torch.float64)
    expected = features(net, x)
    original = UNPADDED if checkpoint == INCEPTION else UNDILATED
    for settings, configs in readers(checkpoint):
        options = {key: value for key, value in settings['init_cfg'].items() if key != 'type'}
        backbone = randomise(MODELS.build({**settings, 'init_cfg': None}), seed=1)
        fit = Pretrained(**options)(backbone)
        assert fit.share >= 0.99, (list(configs), fit)
        assert not fit.stray, (list(configs), fit)
        publishers = MODELS.build({**settings, **original, 'init_cfg': None})
        publishers.load_state_dict(backbone.state_dict())
        with torch.no_grad():
            maps = publishers.eval().double()(x)
        for index, actual in zip(backbone.out_indices, maps, strict=True):
            assert 0.01 < expected[index].std() < 1e3
            assert (actual - expected[index]).abs().max() < 1e-9, (list(configs), index)


@pytest.mark.parametrize('checkpoint', written())
def test_pixels_are_those_that_the_file_was_trained_on(checkpoint):
    """RGB from 0 to 255, less ImageNet's mean and over its deviation; Inception's is from -1 to 1."""
    usual = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    mean, deviation = ([127.5] * 3, [127.5] * 3) if checkpoint == INCEPTION else usual
    for _, configs in readers(checkpoint):
        for name, cfg in configs.items():
            pixels = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
            assert list(pixels.mean) == mean, name
            assert list(pixels.std) == deviation, name
            assert pixels.get('bgr_to_rgb') or pixels.get('to_rgb'), name
