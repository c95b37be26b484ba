"""The child registries of the package: the only door into the OpenMMLab hosts.

A config writes ``type='inimg_mm.X'``. mmengine then imports this module by the
scope's name, finds the children below through its root registries, and imports
their ``locations`` on the first look-up. Nothing is ever registered in a host's
registry: mmdet has a detector and mmpose a backbone called ``SCNet``.
"""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import FUNCTIONS as ROOT_FUNCTIONS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import LOOPS as ROOT_LOOPS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIMIZERS, DefaultScope, Registry
from mmengine.registry import STRATEGIES as ROOT_STRATEGIES
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import WEIGHT_INITIALIZERS as ROOT_WEIGHT_INITIALIZERS

from inimg_mm.config_tree import type_name, walk
from inimg_mm.errors import UsageError

__all__ = [
    'DATASETS',
    'FUNCTIONS',
    'HOOKS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'STRATEGIES',
    'TRANSFORMS',
    'WEIGHT_INITIALIZERS',
    'build_model',
    'unknown_types_named',
]

MODELS = Registry('model', parent=ROOT_MODELS, scope='inimg_mm', locations=['inimg_mm.models'])
DATASETS = Registry(
    'dataset', parent=ROOT_DATASETS, scope='inimg_mm', locations=['inimg_mm.datasets.registered']
)
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

TRANSFORMS = Registry(
    'transform', parent=ROOT_TRANSFORMS, scope='inimg_mm', locations=['inimg_mm.inference.multi_crop']
)
LOOPS = Registry('loop', parent=ROOT_LOOPS, scope='inimg_mm', locations=['inimg_mm.inference.multi_crop'])
METRICS = Registry(
    'metric', parent=ROOT_METRICS, scope='inimg_mm', locations=['inimg_mm.inference.exclusion']
)


def build_model(cfg: Config) -> Any:
    """Build the model as a runner of the config's host does; it is not initialised yet."""
    settings = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):
        settings.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope), unknown_types_named(cfg):
        return ROOT_MODELS.build(settings)


@contextmanager
def unknown_types_named(cfg: Config) -> Iterator[None]:
    """Say of a ``type`` that no registry knows, or a host's other class of that name, what is near it.

    A class that a config gives too few arguments, or one that it does not know, is named with its place.

    Args:
        cfg: The config of what is built.

    Raises:
        UsageError: In the place of mmengine's KeyError, and of the TypeError of a class.
    """
    try:
        yield
    except KeyError as error:
        unknown = re.match(r'(\S+) is not in the (?:(\S+?)::)?(.+?) registry', ' '.join(map(str, error.args)))
        if unknown is not None:
            name, scope, kind = unknown.groups()
            raise UsageError(_near(name, scope or cfg.get('default_scope'), kind)) from error
        for path, node in walk(cfg.get('model'), 'model'):
            if _is_a_hosts(path, node) and re.search(rf'\b{node["type"]}\b', str(error)):
                raise UsageError(_another_class(cfg, path, node, str(error.args[0]))) from error
        raise
    except TypeError as error:
        if unknown_optimizer := _unknown_optimizer(cfg):
            raise UsageError(_near(unknown_optimizer, cfg.default_scope, OPTIMIZERS.name)) from error
        if (found := _given_wrongly(cfg, str(error))) is None:
            raise
        path, node, text = found
        mistake = _another_class(cfg, path, node, text) if _is_a_hosts(path, node) else f'{path}: {text}'
        raise UsageError(mistake) from error


def _unknown_optimizer(cfg: Config) -> str:
    """The name of an optimizer that no registry knows, of which mmengine makes None; '' if all are known."""
    with OPTIMIZERS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        for path, node in walk(cfg.get('optim_wrapper'), 'optim_wrapper'):
            name = node.get('type')
            if path.endswith('optimizer') and isinstance(name, str) and registry.get(name) is None:
                return name
    return ''


def _is_a_hosts(path: str, node: dict[str, Any]) -> bool:
    """Whether a part is a backbone that a host has by a name of ours."""
    return path.endswith('backbone') and node.get('type') in MODELS.module_dict


def _another_class(cfg: Config, path: str, node: dict[str, Any], error: str) -> str:
    kind = node['type']
    return (
        f"{path}.type={kind!r} is another class of {cfg.default_scope}'s, which does not take these "
        f"arguments ({error}): the backbone is type='inimg_mm.{kind}'"
    )


ARGUMENTS = re.compile(
    r'(\w+)\.__init__\(\) (?:missing \d+ required positional arguments?: (.+)|'
    r"got an unexpected keyword argument '(\w+)')"
)
"""What Python says of a class that is given too few arguments, or one that it does not know."""


def _given_wrongly(cfg: Config, error: str) -> tuple[str, dict[str, Any], str] | None:
    """The part of a config that lacks an argument or has one that its class has not, and what that is.

    Returns:
        Its place, its settings and a sentence; None if no part is to blame, but the code.
    """
    if (said := ARGUMENTS.match(error)) is None:
        return None
    name, missing, unknown = said.groups()
    lacking = re.findall(r"'(\w+)'", missing or '')
    parts = [(path[1:], node) for path, node in walk(dict(cfg.items()), '') if 'type' in node]
    parts.sort(key=lambda part: type_name(part[1]) != name)  # a subclass can hand an argument on
    for path, node in parts:
        if unknown and unknown in node:
            return path, node, f'{name} has no argument {unknown!r}'
        if lacking and type_name(node) == name and not set(lacking) & set(node):
            return path, node, f'{name} needs {missing}'
    return None


def _near(name: str, scope: str, kind: str) -> str:
    """What to write in place of a name that the registry of a host and a kind does not know."""
    asked, _, bare = name.rpartition('.')
    roots = [r for r in vars(mmengine.registry).values() if isinstance(r, Registry) and r.name == kind]
    known: dict[str, str] = {}
    for root in roots:
        for child in (root, *root.children.values()):
            if child.scope in ('inimg_mm', asked or scope, 'mmengine'):
                child.import_from_location()
                prefix = '' if child.scope in (scope, 'mmengine') else f'{child.scope}.'
                known |= {f'{prefix}{found}': found for found in child.module_dict}
    text = f'there is no {kind} {name!r} in {asked or scope}'
    ours = [full for full in known if full.startswith('inimg_mm.')]
    if f'inimg_mm.{bare}' in ours:
        return f"{text}: write type='inimg_mm.{bare}'"
    near = get_close_matches(bare, set(known.values()), n=8, cutoff=0.7)
    names = [full for found in near for full in known if known[full] == found]
    if not names and asked == 'inimg_mm':
        return f'{text}, which has {", ".join(ours)}'
    return f'{text}; near it: {", ".join(names)}' if names else f'{text}, and none with a name like it'
