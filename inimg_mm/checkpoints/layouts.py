"""The names that other projects give to a backbone's weights, and ours: pure functions on state dicts.

Ours are torchvision's and mmdet's for ResNets, mmpretrain's for SE, the authors' for SCNet. Every
function leaves names that it does not know alone, and does nothing to a dict in our names.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inimg_mm.errors import UsageError

from . import pytorchcv
from .reading import StateDict

Rules = pytorchcv.Rules
"""(pattern, replacement) pairs; the first pattern that matches a name is applied to it."""
RulesOfNet = Callable[[set[str]], Rules]
"""Rules that depend on the net, which the names in its state dict tell."""

OURS = 'inimg_mm'


@dataclass(frozen=True)
class Layout:
    """One project's names.

    Attributes:
        name: What users call it.
        detect: Whether a dict with these names is in this layout; None where the names are ours.
        to_native: Rules from its names to ours, the classifier's aside.
        from_native: Rules from ours to its, the classifier's aside.
        classifier: Its classifier's name; ours is 'fc'.
        inception_classifier: The same in its Inception-v3.
        pools_at_stride_1: Whether the pool of ``avg_down`` keeps its place in a shortcut of stride 1,
            and the convolution its number.
        lacks: Patterns of our names that have no place in it.
        depths: By kind of net ('SE' or 'SC'), the depths that the project has; others are not counted.
        holds_models: Whether its files hold whole models of the hosts, the backbone under ``backbone.``.
        note: What a net of ours needs to compute what the project's net does with the same weights.
    """

    name: str
    detect: Callable[[set[str]], bool] | None = None
    to_native: Rules | RulesOfNet = ()
    from_native: Rules | RulesOfNet = ()
    classifier: str = 'fc'
    inception_classifier: str = 'fc'
    pools_at_stride_1: bool = True
    lacks: tuple[str, ...] | Callable[[set[str]], tuple[str, ...]] = ()
    depths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    holds_models: bool = False
    note: str = ''


def _any_match(pattern: str) -> Callable[[set[str]], bool]:
    return lambda names: any(re.search(pattern, name) for name in names)


def _both_ways(prefix: str, pairs: Iterable[tuple[str, str]]) -> tuple[Rules, Rules]:
    """Rules to and from our names for (theirs, ours) pairs of parts that follow ``prefix``."""
    pairs = tuple(pairs)
    return (
        tuple((rf'^({prefix}){re.escape(theirs)}\.', rf'\g<1>{ours}.') for theirs, ours in pairs),
        tuple((rf'^({prefix}){re.escape(ours)}\.', rf'\g<1>{theirs}.') for theirs, ours in pairs),
    )


STEM = ('conv1.0', 'conv1.1', 'conv1.3', 'conv1.4', 'conv1.6', 'bn1')
"""The layers of our deep stem."""
BLOCK = r'layer\d+\.\d+\.'

PLAIN_STEM = _both_ways('', zip((f'stem.{index}' for index in (0, 1, 3, 4, 6, 7)), STEM, strict=True))
MODULE_STEM = _both_ways(
    '', zip((f'stem.{index}.{part}' for index in range(3) for part in ('conv', 'bn')), STEM, strict=True)
)
MMPOSE_SCNET = _both_ways(
    BLOCK, (('conv1', 'conv1_a'), ('bn1', 'bn1_a'), ('conv2', 'conv1_b'), ('bn2', 'bn1_b'))
)
TIMM_SE = _both_ways(BLOCK, (('se.fc1', 'se_layer.conv1.conv'), ('se.fc2', 'se_layer.conv2.conv')))
LEGACY_SE = _both_ways(
    BLOCK, (('se_module.fc1', 'se_layer.conv1.conv'), ('se_module.fc2', 'se_layer.conv2.conv'))
)
LEGACY_STEM = _both_ways('', (('layer0.conv1', 'conv1'), ('layer0.bn1', 'bn1')))

GATE, SE, SC, DEEP = r'\.gate\.', r'\.se_layer\.', rf'^{BLOCK}scconv\.', r'^conv1\.0\.'
PREACT = r'^norm\.'
INCEPTION = r'^(Mixed|Conv2d)_'
INCEPTION_EXTRAS = (r'^Mixed_\w+\.se_layer\.', r'^Conv2d_1a_7x7\.')
"""What an Inception-v3 of ours can have and other projects' have not."""
AUXILIARY = 'AuxLogits'
"""The auxiliary classifier of Inception-v3."""
IN_EVERY_BACKBONE = r'(layer1\.0|Conv2d_4a_3x3)\.'
"""What a name begins with in every backbone of ours, and in no other part of a model."""

KINDS = {'SE': ('SE-ResNet', SE), 'SC': ('SCNet', SC)}
"""The nets of which projects have some depths alone: what they are called, and what tells them."""

DEPTHS: dict[tuple[tuple[int, ...], bool], int] = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}
"""By the numbers of blocks, and whether they are bottlenecks."""


def _is_mmpose_scnet(names: set[str]) -> bool:
    return _any_match(SC)(names) and _any_match(rf'^{BLOCK}conv2\.')(names)


def _is_mmpretrain(names: set[str]) -> bool:
    return _any_match(r'^stem\.\d\.conv\.')(names) or bool(_stages_without_pool(names))


def _add(*rules: tuple[Rules, Rules]) -> tuple[Rules, Rules]:
    return sum((there for there, _ in rules), ()), sum((back for _, back in rules), ())


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout('timm_legacy', _any_match(r'\.se_module\.|^layer0\.conv1\.'),
               *_add(LEGACY_SE, LEGACY_STEM), 'last_linear', lacks=(GATE, SC, DEEP, PREACT, INCEPTION),
               note="its nets need stem_ceil_mode=True, and those that are no ResNeXts style='caffe'; "
                    'its 18 and 34 have one more ReLU, before the gate, and cannot be had'),
        Layout('timm', _any_match(r'\.se\.fc\d\.'), *TIMM_SE, lacks=(GATE, SC, PREACT, *INCEPTION_EXTRAS)),
        Layout('mmpose_scnet', _is_mmpose_scnet, *_add(MMPOSE_SCNET, MODULE_STEM), pools_at_stride_1=False,
               lacks=(GATE, SE, PREACT, INCEPTION), depths={'SC': (50, 101)}, holds_models=True,
               note="mmpose's SCNet ignores dilations and has no avd"),
        Layout('mmpretrain', _is_mmpretrain, *MODULE_STEM, 'head.fc', pools_at_stride_1=False,
               lacks=(GATE, SC, PREACT, *INCEPTION_EXTRAS), depths={'SE': (50, 101, 152)}, holds_models=True),
        Layout('mmdet', _any_match(r'^stem\.0\.weight'), *PLAIN_STEM, lacks=(GATE, SC, PREACT, INCEPTION),
               depths={'SE': ()}, holds_models=True),
        Layout('pytorchcv', pytorchcv.is_pytorchcv, pytorchcv.to_native, pytorchcv.from_native, 'output',
               'output.fc', lacks=pytorchcv.lacks),
        Layout('mmpose', None, *MODULE_STEM, pools_at_stride_1=False, lacks=(GATE, PREACT, INCEPTION),
               depths={'SE': (50, 101, 152)}, holds_models=True),
        Layout('torchvision', lacks=(GATE, SE, SC, DEEP, PREACT, *INCEPTION_EXTRAS)),
        Layout('scnet_authors', lacks=(GATE, SE, PREACT, INCEPTION), depths={'SC': (50, 101)}),
        Layout(OURS, holds_models=True),
    )
}  # fmt: skip
"""By name. Layouts are detected in this order; a dict that none of them claims is in our names."""

CLASSIFIERS = tuple(
    sorted(
        {'backbone.fc'}.union(*({each.classifier, each.inception_classifier} for each in LAYOUTS.values())),
        key=lambda name: (-len(name), name),
    )
)
"""What classifiers are called; mmpretrain's Inception-v3 has it in its backbone. Longer names come first."""
AUXILIARIES = (f'head.{AUXILIARY}', f'backbone.{AUXILIARY}', AUXILIARY)
"""What the auxiliary classifier is called in whole models of ours and of mmpretrain's, and elsewhere."""


def detect(names: Iterable[str]) -> str:
    """Name of the layout of a state dict with these names, 'inimg_mm' where the names are ours."""
    names = set(names)
    for layout in LAYOUTS.values():
        if layout.detect is not None and layout.detect(names):
            return layout.name
    return OURS


def get(name: str) -> Layout:
    """Look a layout up.

    Raises:
        UsageError: If there is none of that name; all are named.
    """
    if name not in LAYOUTS:
        raise UsageError(f'unknown layout {name!r}; choose from {list(LAYOUTS)}')
    return LAYOUTS[name]


def place(state: StateDict, target: str) -> Layout:
    """The layout that ``target`` means for weights in our names: mmpose has one for its SCNet.

    Raises:
        UsageError: If ``target`` is unknown.
    """
    is_scnet = target == 'mmpose' and _any_match(SC)(set(state))
    return get('mmpose_scnet' if is_scnet else target)


def to_native(state: StateDict, source: str = 'auto') -> StateDict:
    """The same tensors in our names.

    Args:
        state: Weights of a backbone, with or without a classifier.
        source: A layout's name, or 'auto' to detect it.

    Raises:
        UsageError: If ``source`` is unknown.
    """
    layout = get(detect(state) if source == 'auto' else source)
    moved = ''.join(_stages_without_pool(state))
    pools: Rules = tuple(
        (rf'^(layer[{moved}]\.0\.downsample\.){index}\.', rf'\g<1>{index + 1}.') for index in (0, 1) if moved
    )
    classifier: Rules = tuple((rf'^{re.escape(name)}\.', 'fc.') for name in CLASSIFIERS)
    auxiliary: Rules = tuple((rf'^{re.escape(name)}\.', f'{AUXILIARY}.') for name in AUXILIARIES)
    rules = _of_net(layout.to_native, state) + pools + classifier + auxiliary
    return {_rename(name, rules): value for name, value in state.items()}


def from_native(state: StateDict, target: str) -> StateDict:
    """The same tensors in another layout's names.

    ``avg_down`` nets are taken to have stride 1 in the first stage alone: the weights do not say.

    Args:
        state: Weights of a backbone in our names, with or without a classifier.
        target: A layout's name, see :func:`place`.

    Raises:
        UsageError: If ``target`` is unknown, or has no place for a tensor.
    """
    layout = place(state, target)
    if without := without_place(state, layout):
        raise UsageError(
            f'{target} has no place for {without[0]}; layouts that have: {with_place_for(state)}'
        )
    rules = _of_net(layout.from_native, state)
    if not _any_match(DEEP)(set(state)):
        rules = tuple(rule for rule in rules if 'stem.' not in str(rule[1]))
    if not layout.pools_at_stride_1:
        pooled = any(name.startswith('layer1.0.downsample.2.') for name in state)
        rules += tuple(
            (rf'^(layer1\.0\.downsample\.){index}\.', rf'\g<1>{index - 1}.') for index in (1, 2) if pooled
        )
    classifier = layout.inception_classifier if is_inception(state) else layout.classifier
    rules += ((r'^fc\.', f'{classifier}.'),)
    return {_rename(name, rules): value for name, value in state.items()}


def _of_net(value: Any, names: Iterable[str]) -> Any:
    """What a layout says in general, or of the net that the names tell."""
    return value(set(names)) if callable(value) else value


def no_such_net(state: StateDict, layout: Layout) -> str:
    """What a project lacks for weights in our names that have a place in its names; nothing if it has it."""
    names, depth = set(state), _depth(state)
    for kind, depths in layout.depths.items():
        title, pattern = KINDS[kind]
        if depth is not None and depth not in depths and _any_match(pattern)(names):
            has = f'its depths are {", ".join(map(str, depths))}' if depths else 'and none of another depth'
            return f'{layout.name} has no {title}-{depth} ({has}), so no model of its own takes these weights'
    return ''


def _depth(names: Iterable[str]) -> int | None:
    """The depth of a residual net of the usual numbers of blocks."""
    blocks = {match[0] for name in names if (match := re.match(BLOCK, name))}
    counts = tuple(sum(block.startswith(f'layer{stage}.') for block in blocks) for stage in range(1, 5))
    return DEPTHS.get((counts, any(re.match(rf'{BLOCK}conv3\.', name) for name in names)))


def is_inception(names: Iterable[str]) -> bool:
    """Whether names, ours, are of an Inception-v3."""
    return any(re.match(INCEPTION, name) for name in names)


def without_place(state: StateDict, layout: Layout) -> list[str]:
    """Which of our names have no place in a layout, those of one kind together."""
    return [name for pattern in _of_net(layout.lacks, state) for name in state if re.search(pattern, name)]


def with_place_for(state: StateDict) -> list[str]:
    """The layouts that have a place for all of our names."""
    return [layout.name for layout in LAYOUTS.values() if not without_place(state, layout)]


def _stages_without_pool(names: Iterable[str]) -> list[str]:
    """Stages whose shortcut has no place for a pool, in a net that has it in other stages."""
    places: dict[str, set[str]] = {}
    for name in names:
        if place := re.match(r'layer(\d)\.0\.downsample\.(\d)\.', name):
            places.setdefault(place[1], set()).add(place[2])
    with_pool = [stage for stage, indices in places.items() if '2' in indices]
    return sorted(set(places) - set(with_pool)) if with_pool else []


def _rename(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name
