"""The backbones by name: what to build, what was published about it, and what it needs."""

from .models import (
    CMPE_SE,
    INCEPTION,
    INNER_IMAGING,
    MODELS,
    PREACT,
    PYRAMID,
    RESNET,
    SENET,
    V1D,
    WIDE,
    Model,
    build,
    get,
)

__all__ = [
    'CMPE_SE',
    'INCEPTION',
    'INNER_IMAGING',
    'MODELS',
    'PREACT',
    'PYRAMID',
    'RESNET',
    'SENET',
    'V1D',
    'WIDE',
    'Model',
    'build',
    'get',
]
