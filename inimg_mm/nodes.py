"""Walks through configs."""

from collections.abc import Iterator, MutableMapping
from typing import Any

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
