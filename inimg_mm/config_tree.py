"""Walks through configs."""

import inspect
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from mmengine.config import Config

Node = MutableMapping[str, Any]


def nodes(value: Any) -> Iterator[Node]:
    """Every mapping in a nested config, from the outside in."""
    if isinstance(value, MutableMapping):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for child in value:
            yield from nodes(child)


def datasets_of(value: Any) -> Iterator[Node]:
    """The innermost data sets of a config, behind wrappers with a ``dataset`` or ``datasets``."""
    if isinstance(value, list | tuple):
        for child in value:
            yield from datasets_of(child)
    elif isinstance(value, MutableMapping):
        inner = value.get('dataset') or value.get('datasets')
        yield from datasets_of(inner) if inner else [value]


def type_name(node: Mapping[str, Any], default: str = '') -> str:
    """What a config builds: 'SCNet' for 'inimg_mm.SCNet' and for the class, as pure Python configs have it.

    Args:
        node: A config with a ``type``.
        default: The name where it has none.
    """
    kind = node.get('type', default)
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def strategy_name(cfg: Config) -> str | None:
    """Name of the strategy by which a config trains, without its package; None for a plain runner."""
    if cfg.get('runner_type') != 'FlexibleRunner':
        return None
    return type_name(cfg.get('strategy') or {}, 'DDPStrategy')


def walk(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict in a config with its dotted path."""
    if isinstance(node, dict):
        yield path, node
        for key, child in node.items():
            yield from walk(child, f'{path}.{key}')
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from walk(child, f'{path}.{index}')


SYNC_NORMS = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')
"""Types of norms whose statistics are those of all processes, which is done on GPUs only."""

SEEING = ('backbone', 'image_encoder', 'backbone_cfg')
"""What the hosts' models call the part that sees the image."""


def backbone_nodes(model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The backbones of a model's config with their dotted paths, also those inside other parts.

    Where one wraps another (``backbone.backbone_cfg`` of BiSeNet and ICNet; the ``image_encoder`` of a
    retriever, which can be a list of a backbone and its neck), that is the innermost.
    """
    found = {path: node for path, node in walk(model, 'model') if node.get('type') and _sees(path)}
    for path, node in found.items():
        if not any(other.startswith(f'{path}.') for other in found):
            yield path, node


def _sees(path: str) -> bool:
    *_, parent, last = ['', *path.split('.')]
    return last in SEEING or (last == '0' and parent in SEEING)


def defaults_of(kind: Any) -> dict[str, Any]:
    """What a class or a function takes for arguments that are not given, those of its parents included."""
    functions = [kind] if callable(kind) else []
    if inspect.isclass(kind):
        functions = [vars(cls)['__init__'] for cls in reversed(kind.__mro__[:-1]) if '__init__' in vars(cls)]
    return {
        name: parameter.default
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not parameter.empty
    }


def is_pretrained(init_cfg: Mapping[str, Any]) -> bool:
    """Whether an ``init_cfg`` loads a file, by mmengine's initialiser or by ours."""
    return type_name(init_cfg) in ('Pretrained', 'PretrainedInit')
