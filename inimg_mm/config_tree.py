"""Walks through configs."""

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


def is_pretrained(init_cfg: Mapping[str, Any]) -> bool:
    """Whether an ``init_cfg`` loads a file, by mmengine's initialiser or by ours."""
    return type_name(init_cfg) in ('Pretrained', 'PretrainedInit')
