"""What the tests share: one thread, fixed seeds, tiny nets and random states."""

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from inimg_mm import zoo

pytest.register_assert_rewrite('tooling')
torch.set_num_threads(1)

DEEP = [name for name, model in zoo.MODELS.items() if model.config.get('depth', 0) > 50]
ALL_MODELS = [pytest.param(name, marks=pytest.mark.slow if name in DEEP else ()) for name in zoo.MODELS]
"""Every model of the zoo, to parametrise a test with."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    np.random.seed(0)


def tiny(name, **overrides):
    """Build a zoo model as narrow as its groups let it be."""
    channels = max(16, 64 // zoo.get(name).config.get('base_width', 64))
    return zoo.build(name, **{'base_channels': channels, 'stem_channels': 16, **overrides})


def randomise(net, seed=0):
    """Fill every parameter and batch-norm statistic, so that maps stay near one in depth; return the net."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor, mean, deviation):
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(mean + deviation * noise)

    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                draw(module.weight, 0.8, 0.2)
                draw(module.bias, 0, 0.2)
                draw(module.running_mean, 0, 0.2)
                draw(module.running_var, 0, 0.3)
                module.running_var.abs_().add_(0.7)
            else:
                for name, parameter in module.named_parameters(recurse=False):
                    fan_in = parameter[0].numel()
                    draw(parameter, 0, (1 / fan_in) ** 0.5 if name == 'weight' else 0.2)
    return net


def image(*size, batch=2, **options):
    """Random images of height and width ``size``."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, *size, generator=generator).to(**options)


@pytest.fixture(autouse=True)
def default_scope():
    """Keep the host that a test makes mmengine's default from reaching the next test."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
    """A working folder with a tiny demo set at data/demo, where the demo configs look for it."""
    pytest.importorskip('sklearn', reason='the demo data needs scikit-learn (extra demo)')
    pytest.importorskip('skimage', reason='the demo data needs scikit-image (extra demo)')
    from inimg_mm.datasets.demo import make_demo_data

    folder = tmp_path_factory.mktemp('tools')
    counts = dict(num_train=16, num_val=4, num_class_train=2, num_class_val=1)
    make_demo_data(folder / 'data' / 'demo', **counts, progress=False)
    return folder
