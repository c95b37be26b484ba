"""Gates, backbones and heads; importing this package registers them."""

from . import attention, backbones, heads
from .backbones import *  # noqa: F403

__all__ = ['attention', 'backbones', 'heads']
__all__ += backbones.__all__
