"""Attention and self-calibrated backbones for the OpenMMLab ecosystem.

Squeeze-and-Excitation, competitive inner-imaging and self-calibrated networks and Inception-v3 as a
feature pyramid, for any mm toolbox: write ``backbone=dict(type='inimg_mm.SEResNet', ...)`` in a config
and train. The toolbox's registry imports :mod:`inimg_mm.registry` by itself when it meets the scope
``inimg_mm``, so this module imports nothing: neither torch nor a host.
"""

from inimg_mm.version import __version__

__all__ = ['__version__']
