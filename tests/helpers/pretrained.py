"""Checkpoints for initialisers, and what they are asked."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope

from helpers.nets import tiny
from inimg_mm.checkpoints import CheckpointError, Pretrained


def save(folder, net, name='weights.pth', **extra):
    """Save a net's weights, or a state dict, and return the path."""
    state = net if isinstance(net, dict) else net.state_dict()
    torch.save({**state, **extra}, folder / name)
    return str(folder / name)


def assert_refused(net, path, message, **options):
    """The initialiser raises one line that matches, and changes nothing."""
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(CheckpointError, match=message) as caught:
        Pretrained(path, **options)(net)
    assert '\n' not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    return str(caught.value)


def assert_same(net, state):
    own = net.state_dict()
    assert set(own) <= set(state)
    different = [name for name in own if not torch.equal(own[name], state[name])]
    assert not different


def initialised(name, path, *, how='inimg_mm.Pretrained', **options):
    """A tiny net after mmengine's initialisation from a file."""
    initialiser = {key: options.pop(key) for key in ('warm_start', 'min_loaded', 'source') if key in options}
    net = tiny(name, init_cfg=dict(type=how, checkpoint=path, **initialiser), **options)
    net.init_weights()
    return net


def build_detector(config):
    """Build with mmdet as the default scope, whatever ran before."""
    registry = pytest.importorskip('mmdet.registry')
    with DefaultScope.overwrite_default_scope('mmdet'):
        return registry.MODELS.build(config)
