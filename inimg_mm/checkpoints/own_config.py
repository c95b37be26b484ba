"""The config that a checkpoint was trained with: what a fit of names and shapes cannot see."""

import ast
import inspect
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope

from inimg_mm.config_tree import Node, backbone_nodes, defaults_of
from inimg_mm.models.attention import GATES
from inimg_mm.models.backbones import Backbone, ResNet

from .reading import Opened

OF_TRAINING = (
    'init_cfg', 'pretrained', 'frozen_stages', 'norm_eval', 'with_cp', 'drop_path_rate',
    'zero_init_residual', 'out_indices', 'num_stages', 'norm_cfg', 'type',
)  # fmt: skip
"""Arguments of a backbone that do not change what its maps are."""


class Difference(NamedTuple):
    """An argument of a backbone that has another value than in the checkpoint's own config.

    Attributes:
        line: Its dotted place in the config.
        here: Its value in the config.
        there: Its value in the checkpoint's.
    """

    line: str
    here: Any
    there: Any

    def __str__(self) -> str:
        return f'{self.line} is {self.here!r} here and {self.there!r} there'

    @property
    def option(self) -> str:
        """What to write to have the checkpoint's value."""
        return f'{self.line}={self.there!r}'.replace(' ', '')


def own_config(checkpoint: Opened) -> dict[str, Any]:
    """What a checkpoint's own config says, as far as it is made of plain values; nothing in it is run.

    Returns:
        The settings by name; empty where mmengine stored no config.
    """
    text = checkpoint.meta.get('cfg')
    try:
        statements = ast.parse(text).body if isinstance(text, str) else []
    except (SyntaxError, ValueError):
        return {}
    return {
        target.id: value
        for statement in statements
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name) and (value := plain_value(statement.value)) is not UNKNOWN
    }


UNKNOWN = object()
"""What an expression is that is more than plain values."""


def plain_value(node: ast.expr) -> Any:
    """The value of an expression of literals and ``dict(…)``; what more is inside it is left out."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        pairs = [(keyword.arg, plain_value(keyword.value)) for keyword in node.keywords if keyword.arg]
        return {key: value for key, value in pairs if value is not UNKNOWN}
    if isinstance(node, ast.Dict):
        keyed = [
            (plain_value(key), plain_value(value))
            for key, value in zip(node.keys, node.values, strict=True)
            if key
        ]
        return {key: value for key, value in keyed if UNKNOWN not in (key, value)}
    if isinstance(node, ast.List | ast.Tuple):
        values = [value for value in map(plain_value, node.elts) if value is not UNKNOWN]
        return tuple(values) if isinstance(node, ast.Tuple) else values
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return UNKNOWN


def differences(cfg: Config, checkpoint: Opened) -> list[Difference]:
    """Compare the backbones of a config with those that a checkpoint was trained with.

    Another fold, stream, order of filters, dilation or stride can fit a file's names and shapes, and compute
    something else. Values that are not given count as the default, and tuples as lists.

    Args:
        cfg: The config.
        checkpoint: Its checkpoint; one without a config of its own tells nothing.

    Returns:
        What differs, by the place in the config.
    """
    theirs = own_config(checkpoint).get('model')
    if not isinstance(theirs, dict):
        return []
    trained = dict(backbone_nodes(theirs))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return [
            difference
            for path, node in backbone_nodes(cfg.model)
            if path in trained
            for difference in _compared(path, _arguments(node), _arguments(trained[path]))
        ]


def _compared(path: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[Difference]:
    for name in here:
        line = f'{path}.{name}'
        if name in there and here[name] != there[name]:
            if isinstance(here[name], dict) and isinstance(there[name], dict):
                yield from _compared(line, here[name], there[name])
            else:
                yield Difference(line, here[name], there[name])


def _arguments(node: Node) -> dict[str, Any]:
    """A backbone's arguments with their defaults, but for those that only a training looks at."""
    kind = node['type']
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    given = dict(node)
    if inspect.isclass(kind) and issubclass(kind, Backbone):
        gates = _spec(kind, given)
        given['attention'] = {**defaults_of(GATES.get(str(gates.get('type')))), **gates} if gates else None
    arguments = {**defaults_of(kind), **given}
    return {name: _lists(value) for name, value in arguments.items() if name not in OF_TRAINING}


def _spec(kind: type[Backbone], given: Node) -> Node:
    """The spec of the gates that one of our backbones has: its family's, and how that folds, included."""
    written: Node = given.get('attention') or {}
    if not issubclass(kind, ResNet):
        return written
    arguments = {
        name: value for name, value in given.items() if name not in ('type', 'pretrained', 'init_cfg')
    }
    try:
        with torch.device('meta'):
            return kind(**arguments).attention or {}
    except Exception:  # of another version's config, or one that the training itself will say
        return written


def _lists(value: Any) -> Any:
    """A value with lists for tuples, and plain dicts."""
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def changes(line: str, here: Any, there: Any) -> Iterator[Difference]:
    """Every value in a nested setting that is another, or only on one side (None on the other)."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for name in dict.fromkeys([*here, *there]):
            yield from changes(f'{line}.{name}', here.get(name), there.get(name))
    elif isinstance(here, list | tuple) and isinstance(there, list | tuple) and len(here) == len(there):
        for index, pair in enumerate(zip(here, there, strict=True)):
            yield from changes(f'{line}.{index}', *pair)
    elif here != there:
        yield Difference(line, here, there)


def warn_of_differences(cfg: Config, checkpoint: Opened) -> None:
    """Say which arguments of a backbone a checkpoint was trained with otherwise, though its weights fit."""
    if found := differences(cfg, checkpoint):
        print_log(
            f'{checkpoint.source} fits, and was trained with another backbone: '
            f'{"; ".join(map(str, found))}. To have its own: '
            f'--cfg-options {" ".join(difference.option for difference in found)}',
            'current',
            logging.WARNING,
        )
