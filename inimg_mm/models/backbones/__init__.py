"""Backbones for the OpenMMLab hosts."""

from .base import Backbone
from .resnet import CMPESEResNet, InnerImagingResNet, ResNet, SEResNet, SEResNeXt

__all__ = ['Backbone', 'CMPESEResNet', 'InnerImagingResNet', 'ResNet', 'SEResNeXt', 'SEResNet']
