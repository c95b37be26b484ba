"""Checks of the arguments that gates and backbones take: each returns the value or says what is possible."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from mmengine.registry import MODELS as ROOT_MODELS

from inimg_mm.errors import UsageError


def is_integer(value: Any) -> bool:
    """Whether a value is an integer, NumPy's included and flags not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def positive_integer(name: str, value: Any) -> int:
    """Check a count or a size.

    Raises:
        UsageError: If it is not an integer of at least 1.
    """
    if not is_integer(value) or value < 1:
        raise UsageError(f'{name} must be an integer of at least 1, got {value!r}')
    return int(value)


def switch(name: str, value: Any) -> bool:
    """Accept a bool.

    Raises:
        UsageError: If it is anything else, such as a text that only looks like one.
    """
    if not isinstance(value, bool):
        raise UsageError(f'{name} must be True or False, got {value!r}')
    return value


def one_each(name: str, values: Any, number: int, things: str = 'stages') -> tuple[Any, ...]:
    """Check an argument that holds one value for each of ``number`` things.

    Raises:
        UsageError: If it holds another number of values.
    """
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != number:
        raise UsageError(f'{name} must hold one value for each of {number} {things}, got {values!r}')
    return tuple(values)


def one_flag_each(name: str, values: Any, number: int) -> tuple[bool, ...]:
    """Check an argument that holds one flag for each of ``number`` stages.

    Raises:
        UsageError: If it holds another number of values, or one that is no flag.
    """
    if any(value not in (False, True) for value in one_each(name, values, number)):
        raise UsageError(f'{name} must be True or False for each of {number} stages, got {values!r}')
    return tuple(bool(value) for value in values)


def one_size_each(name: str, values: Any, number: int, things: str = 'stages') -> tuple[int, ...]:
    """Check an argument that holds one positive integer for each of ``number`` things.

    Raises:
        UsageError: If it holds another number of values, or one that is not an integer of at least 1.
    """
    values = one_each(name, values, number, things)
    return tuple(positive_integer(f'each of {name}={values!r}', value) for value in values)


def layer_config(name: str, config: Any, example: str) -> None:
    """Check the config of a norm or a convolution; None is one, too.

    Raises:
        UsageError: If it is not a dict with a type that is registered.
    """
    if config is None:
        return
    if not isinstance(config, Mapping) or not config.get('type'):
        raise UsageError(f'{name} must be a config such as {example}, got {config!r}')
    kind = config['type']
    if isinstance(kind, str):
        with ROOT_MODELS.switch_scope_and_registry(None) as registry:  # where mmcv looks
            if registry.get(kind) is None:
                raise UsageError(f'{name} has the unknown type {kind!r}; write one such as {example}')
    if kind == 'GN' and not is_integer(config.get('num_groups')):
        raise UsageError(f"{name}=dict(type='GN') lacks num_groups: dict(type='GN', num_groups=32)")


def groups_divide(name: str, config: Mapping[str, Any], channels: Mapping[str, int]) -> None:
    """Check that a group norm's groups divide the channels of the layers that it follows.

    Args:
        name: The argument that holds the config.
        config: Config of a norm, of any type.
        channels: Channels of the narrowest layers, by their names.

    Raises:
        UsageError: If they do not.
    """
    groups = config['num_groups'] if config['type'] == 'GN' else 1
    for layer, number in channels.items():
        if number % groups:
            raise UsageError(
                f"{name}=dict(type='GN', num_groups={groups}) does not fit {layer}, which has {number} "
                f'channels: write num_groups={math.gcd(groups, number)}'
            )
