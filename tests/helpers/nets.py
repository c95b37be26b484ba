"""Tiny nets, random states, and what the tests ask of a net."""

import math

import pytest
import torch
from torch import nn

from inimg_mm import zoo
from inimg_mm.models.backbones.blocks import BasicBlock
from inimg_mm.registry import build_model

STAGES = ('layer1', 'layer2', 'layer3', 'layer4')
INCEPTION_STAGES = ('Conv2d_4a_3x3', 'Mixed_5d', 'Mixed_6e', 'Mixed_7c')
"""The modules that give the four maps of Inception-v3, in torchvision's net and ours."""
CIFAR = [name for name, model in zoo.MODELS.items() if model.image_size == 32]
INCEPTIONS = [name for name in zoo.MODELS if 'inception' in name]
NO_RESNETS = ('InceptionV3', 'PreActResNet', 'WideResNet', 'PyramidNet')
DEEP = [name for name, m in zoo.MODELS.items() if m.config.get('depth', 0) > 50 and name not in CIFAR]


def models(without=()):
    """Models of the zoo, to parametrise a test with; deep ones are of the slow tier."""
    names = [name for name in zoo.MODELS if name not in without]
    return [pytest.param(name, marks=pytest.mark.slow if name in DEEP else ()) for name in names]


ALL_MODELS = models()
RESIDUAL = models(INCEPTIONS)
RESNETS = models([name for name, m in zoo.MODELS.items() if m.config['type'].endswith(NO_RESNETS)])
"""Those with a ReLU after each sum and four stages behind a stem of stride 4."""


def tiny(name, **overrides):
    """Build a zoo model as narrow as its groups let it be, and as shallow where it is for CIFAR.

    Inception-v3 has one width only; it is padded, so that small images fit.
    """
    config = zoo.get(name).config
    if name in INCEPTIONS:
        return zoo.build(name, **{'padding': 'same', **overrides})
    narrow = dict(base_channels=max(16, 64 // config.get('base_width', 64)), stem_channels=16)
    if name in CIFAR:
        basic = config['depth'] < 164  # two blocks a stage
        narrow = dict(depth=(16 if 'widen_factor' in config else 14) if basic else 20)
        narrow |= {} if basic else dict(bottleneck=True)
    narrow |= {key: value for key, value in dict(widen_factor=2, alpha=12).items() if key in config}
    return zoo.build(name, **{**narrow, **overrides})


def weightless(family, **options):
    """A net of shapes alone, without memory behind its weights."""
    with torch.device('meta'):
        return family(**options)


def randomise(net, seed=0):
    """Fill every parameter and batch-norm statistic, so that maps stay near one in depth; return the net."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor, mean, deviation):
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(mean + deviation * noise)

    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                if module.affine:
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


def assert_declared_shapes(net, x):
    maps = net(x)
    declared = [
        (len(x), channels, math.ceil(x.shape[2] / stride), math.ceil(x.shape[3] / stride))
        for channels, stride in zip(net.out_channels, net.out_strides, strict=True)
    ]
    assert isinstance(maps, tuple)
    assert [tuple(m.shape) for m in maps] == declared
    assert all(m.isfinite().all() for m in maps)
    return maps


def convolutions_3x3(block):
    """A block's 3x3 convolutions, the gate's filters aside."""
    named = ((key, module) for key, module in block.named_modules() if isinstance(module, nn.Conv2d))
    return [conv for key, conv in named if conv.kernel_size == (3, 3) and not key.startswith('gate.')]


def dilations_of(blocks):
    """Dilation of each block's 3x3 convolutions, which pad as much; a basic block dilates the first alone."""
    dilations = []
    for block in blocks:
        convs = convolutions_3x3(block)
        convs = convs[:1] if isinstance(block, BasicBlock) else convs
        assert {conv.padding for conv in convs} == {conv.dilation for conv in convs} == {convs[0].dilation}
        dilations.append(convs[0].dilation[0])
    return dilations


def loss_of(maps):
    return sum(m.float().square().mean() for m in maps)


def features(net, x):
    """The four maps of any project's net."""
    maps = []
    hooks = [
        net.get_submodule(stage).register_forward_hook(lambda module, args, out: maps.append(out))
        for stage in (INCEPTION_STAGES if hasattr(net, 'Mixed_7c') else STAGES)
    ]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return maps


def count_parameters(cfg):
    """Parameters of a config's model, which takes no memory and a tenth of a second."""
    with torch.device('meta'):
        return sum(p.numel() for p in build_model(cfg).parameters())
