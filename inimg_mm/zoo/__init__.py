"""The backbones by name: what to build, what was published about it, and what it needs."""

from .models import CMPE_SE, INNER_IMAGING, MODELS, RESNET, SENET, V1D, Model, build, get

__all__ = ['CMPE_SE', 'INNER_IMAGING', 'MODELS', 'RESNET', 'SENET', 'V1D', 'Model', 'build', 'get']
