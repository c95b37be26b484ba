"""Gates, backbones and heads; importing this package registers them."""

from . import attention, backbones, heads

__all__ = ['attention', 'backbones', 'heads']
