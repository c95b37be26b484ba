"""The child registries of the package: the only door into the OpenMMLab hosts.

A config writes ``type='inimg_mm.X'``. mmengine then imports this module by the
scope's name, finds the children below through its root registries, and imports
their ``locations`` on the first look-up. Nothing is ever registered in a host's
registry: mmdet has a detector and mmpose a backbone called ``SCNet``.
"""

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import WEIGHT_INITIALIZERS as ROOT_WEIGHT_INITIALIZERS
from mmengine.registry import Registry

__all__ = ['MODELS', 'WEIGHT_INITIALIZERS']

MODELS = Registry('model', parent=ROOT_MODELS, scope='inimg_mm', locations=['inimg_mm.models'])
WEIGHT_INITIALIZERS = Registry(
    'weight initializer',
    parent=ROOT_WEIGHT_INITIALIZERS,
    scope='inimg_mm',
    locations=['inimg_mm.checkpoints'],
)
