"""The child registries of the package: the only door into the OpenMMLab hosts.

A config writes ``type='inimg_mm.X'``. mmengine then imports this module by the
scope's name, finds the children below through its root registries, and imports
their ``locations`` on the first look-up. Nothing is ever registered in a host's
registry: mmdet has a detector and mmpose a backbone called ``SCNet``.
"""

import copy
from typing import Any

from mmengine.config import Config
from mmengine.registry import FUNCTIONS as ROOT_FUNCTIONS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import STRATEGIES as ROOT_STRATEGIES
from mmengine.registry import WEIGHT_INITIALIZERS as ROOT_WEIGHT_INITIALIZERS
from mmengine.registry import DefaultScope, Registry

__all__ = [
    'FUNCTIONS',
    'HOOKS',
    'MODELS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'STRATEGIES',
    'WEIGHT_INITIALIZERS',
    'build_model',
]

MODELS = Registry('model', parent=ROOT_MODELS, scope='inimg_mm', locations=['inimg_mm.models'])
WEIGHT_INITIALIZERS = Registry(
    'weight initializer',
    parent=ROOT_WEIGHT_INITIALIZERS,
    scope='inimg_mm',
    locations=['inimg_mm.checkpoints'],
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=ROOT_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='inimg_mm',
    locations=['inimg_mm.engine.layer_decay'],
)
FUNCTIONS = Registry(
    'function', parent=ROOT_FUNCTIONS, scope='inimg_mm', locations=['inimg_mm.engine.sharding']
)
HOOKS = Registry('hook', parent=ROOT_HOOKS, scope='inimg_mm', locations=['inimg_mm.engine.hooks'])
STRATEGIES = Registry(
    'strategy', parent=ROOT_STRATEGIES, scope='inimg_mm', locations=['inimg_mm.engine.sharding']
)


def build_model(cfg: Config) -> Any:
    """Build the model as a runner of the config's host does; it is not initialised yet."""
    settings = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):
        settings.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return ROOT_MODELS.build(settings)
