"""Heads for the hosts' models.

A head stands on its host's base class. Each is registered as a function that imports it when a
config asks for it, so that the backbones do without any host.
"""

from .lazy import fcn_skip_head, inception_head

__all__ = ['fcn_skip_head', 'inception_head']
