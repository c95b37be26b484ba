"""Backbones for the OpenMMLab hosts."""

from .base import Backbone
from .inception_v3 import InceptionV3
from .resnet import CMPESEResNet, InnerImagingResNet, ResNet, SEResNet, SEResNeXt
from .scconv import SCConv, SCConv2d
from .scnet import SCBottleneck, SCNet

__all__ = [
    'Backbone',
    'CMPESEResNet',
    'InceptionV3',
    'InnerImagingResNet',
    'ResNet',
    'SCBottleneck',
    'SCConv',
    'SCConv2d',
    'SCNet',
    'SEResNeXt',
    'SEResNet',
]
