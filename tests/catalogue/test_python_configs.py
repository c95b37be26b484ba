"""The pure Python configs say what their text twins say, and a class is as good as its name."""

import copy
import inspect
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import PretrainedInit
from mmengine.runner import Runner

from inimg_mm import zoo
from inimg_mm.checking.weights import pretrained_nodes
from inimg_mm.checkpoints import CheckpointError, Pretrained
from inimg_mm.host_facts import HOSTS
from inimg_mm.launch import load_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
PYTHON = sorted(CONFIGS.glob('*/*_python.py'))
HOST_OF = {'imagenet': 'mmpretrain', 'coco_keypoint': 'mmpose', 'voc_semantic': 'mmseg'}
READ = {*inspect.signature(Runner.__init__).parameters, 'auto_scale_lr', 'sync_bn', 'find_unused_parameters'}
"""What a training reads of a config; other names in it are variables of the file."""

BY_NAME = {'SE', 'CMPESE', 'InnerImaging', 'RoIAlign', 'nms'}
"""What a config can only name: a gate of ours, and the ops that mmdet looks up in mmcv."""


def plain(node):
    """A config's values without how they are written: types by their last name, tuples as lists."""
    if isinstance(node, dict):
        node = {key: plain(value) for key, value in node.items() if key != '_scope_'}
        if 'type' in node:
            node['type'] = getattr(node['type'], '__name__', str(node['type'])).split('.')[-1]
        return node
    return [plain(value) for value in node] if isinstance(node, list | tuple) else node


def what_is_read(cfg):
    settings = {key: value for key, value in cfg.to_dict().items() if key in READ}
    return {key: value for key, value in plain(settings).items() if value is not None}


def need_host(path):
    host = HOST_OF.get(path.parent.name, 'mmdet')
    pytest.importorskip(host, reason=f'the config is of {host} (extra {HOSTS[host].extra})')


@pytest.mark.parametrize('path', PYTHON, ids=lambda path: path.stem)
def test_a_python_config_says_what_its_twin_says(path, tmp_path):
    need_host(path)
    text = load_config(path.with_name(path.name.replace('_python', '')))
    python = load_config(path)
    text.work_dir = python.work_dir = None
    assert what_is_read(python) == what_is_read(text)

    python.dump(tmp_path / 'dumped.py')
    dumped = Config.fromfile(tmp_path / 'dumped.py')
    assert what_is_read(dumped) == what_is_read(text)


def types(node):
    if isinstance(node, dict):
        if 'type' in node:
            yield node['type']
        node = list(node.values())
    if isinstance(node, list | tuple):
        for value in node:
            yield from types(value)


@pytest.mark.parametrize('path', PYTHON, ids=lambda path: path.stem)
def test_its_types_are_classes(path):
    need_host(path)
    cfg = load_config(path)
    found = [kind for key in READ if key in cfg for kind in types(cfg[key])]
    assert len(found) > 10
    assert {kind for kind in found if not inspect.isclass(kind)} <= BY_NAME


def test_every_host_has_one():
    """A config written in pure Python beside the same in text: there are no others."""
    assert {HOST_OF.get(path.parent.name, 'mmdet') for path in PYTHON} == set(HOSTS)


# ---- a class in the place of 'Pretrained' -------------------------------------------------------------


SPELLINGS = {
    'our class': Pretrained,
    "mmengine's class": PretrainedInit,
    'our class in a dumped config': 'inimg_mm.checkpoints.Pretrained',
    "mmengine's class in a dumped config": 'mmengine.model.weight_init.PretrainedInit',
}


@pytest.mark.parametrize('kind', SPELLINGS.values(), ids=SPELLINGS)
def test_pretrained_as_a_class(kind, tmp_path):
    file = str(tmp_path / 'weights.pth')
    state = zoo.build('resnet18', base_channels=8).state_dict()
    torch.save(state, file)
    init_cfg = dict(type=kind, checkpoint=file)

    net = zoo.build('resnet18', base_channels=8, init_cfg=[init_cfg, dict(type='Kaiming', layer='Conv2d')])
    net.init_weights()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())

    with pytest.raises(CheckpointError, match='does not fit'):
        zoo.build('scnet50', base_channels=16, init_cfg=copy.deepcopy(init_cfg)).init_weights()


@pytest.mark.parametrize('kind', SPELLINGS.values(), ids=SPELLINGS)
def test_a_check_sees_the_file_that_a_class_names(kind):
    model = dict(
        backbone=dict(type='x', init_cfg=dict(type=kind, checkpoint='f.pth')), head=dict(init_cfg=None)
    )
    assert [path for path, _ in pretrained_nodes(model)] == ['model.backbone']
