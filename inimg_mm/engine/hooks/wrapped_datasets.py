"""The data sets that a built data set wraps."""

from collections.abc import Iterator
from typing import Any

WRAPPED = ('dataset', 'datasets', '_dataset')
"""Where wrappers of data sets have what they wrap."""


def with_wrapped(dataset: Any) -> Iterator[Any]:
    """A data set and those that it wraps, from the outside in."""
    if isinstance(dataset, list | tuple):
        for one in dataset:
            yield from with_wrapped(one)
    elif dataset is not None and hasattr(dataset, '__dict__'):
        yield dataset
        for name in WRAPPED:
            yield from with_wrapped(vars(dataset).get(name))


def innermost(dataset: Any) -> list[Any]:
    """The data sets that wrap no other."""
    return [one for one in with_wrapped(dataset) if len(list(with_wrapped(one))) == 1]
