"""Gates and backbones; importing this package registers them."""

from . import attention, backbones

__all__ = ['attention', 'backbones']
