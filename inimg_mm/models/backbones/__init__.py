"""Backbones for the OpenMMLab hosts."""

from .base import Backbone
from .inception_v3 import InceptionV3
from .preact_resnet import PreActResNet
from .pyramidnet import PyramidNet
from .resnet import CMPESEResNet, InnerImagingResNet, ResNet, SEResNet, SEResNeXt
from .scconv import SCConv, SCConv2d
from .scnet import SCBottleneck, SCNet
from .separable import SeparableConv2d
from .wide_resnet import WideResNet

__all__ = [
    'Backbone',
    'CMPESEResNet',
    'InceptionV3',
    'InnerImagingResNet',
    'PreActResNet',
    'PyramidNet',
    'ResNet',
    'SCBottleneck',
    'SCConv',
    'SCConv2d',
    'SCNet',
    'SEResNeXt',
    'SEResNet',
    'SeparableConv2d',
    'WideResNet',
]
