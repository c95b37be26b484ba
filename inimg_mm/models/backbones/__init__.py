"""Backbones for the OpenMMLab hosts."""

from .base import Backbone
from .resnet import CMPESEResNet, InnerImagingResNet, ResNet, SEResNet, SEResNeXt
from .scconv import SCConv, SCConv2d
from .scnet import SCBottleneck, SCNet

__all__ = [
    'Backbone',
    'CMPESEResNet',
    'InnerImagingResNet',
    'ResNet',
    'SCBottleneck',
    'SCConv',
    'SCConv2d',
    'SCNet',
    'SEResNeXt',
    'SEResNet',
]
