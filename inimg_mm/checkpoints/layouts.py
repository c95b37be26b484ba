"""The names that other projects give to a backbone's weights, and ours: pure functions on state dicts.

Ours are torchvision's and mmdet's for ResNets, mmpretrain's for SE, the authors' for SCNet. Every
function leaves names that it does not know alone, and does nothing to a dict in our names.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

StateDict = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]
"""(pattern, replacement) pairs; the first pattern that matches a name is applied to it."""


@dataclass(frozen=True)
class Layout:
    """One project's names.

    Attributes:
        name: What users call it.
        detect: Whether a dict with these names is in this layout; None where the names are ours.
        to_native: Rules from its names to ours.
        from_native: Rules from ours to its.
        classifier: Its classifier's name.
    """

    name: str
    detect: Callable[[set[str]], bool] | None = None
    to_native: Rules = ()
    from_native: Rules = ()
    classifier: str = 'fc'


def _any_match(pattern: str) -> Callable[[set[str]], bool]:
    return lambda names: any(re.search(pattern, name) for name in names)


def _is_mmpose_scnet(names: set[str]) -> bool:
    return _any_match(r'\.scconv\.')(names) and _any_match(r'\d\.conv2\.')(names)


MMDET_STEM: Rules = tuple(
    (rf'^stem\.{theirs}\.', f'{ours}.') for theirs, ours in
    ((0, 'conv1.0'), (1, 'conv1.1'), (3, 'conv1.3'), (4, 'conv1.4'), (6, 'conv1.6'), (7, 'bn1'))
)  # fmt: skip
MODULE_STEM: Rules = tuple(
    (rf'^stem\.{index}\.{part}\.', f'{ours}.') for index, part, ours in
    ((0, 'conv', 'conv1.0'), (0, 'bn', 'conv1.1'), (1, 'conv', 'conv1.3'), (1, 'bn', 'conv1.4'),
     (2, 'conv', 'conv1.6'), (2, 'bn', 'bn1'))
)  # fmt: skip
MMPOSE_SCNET: Rules = tuple(
    (rf'^(layer\d+\.\d+)\.{theirs}\.', rf'\1.{ours}.') for theirs, ours in
    (('conv1', 'conv1_a'), ('bn1', 'bn1_a'), ('conv2', 'conv1_b'), ('bn2', 'bn1_b'))
)  # fmt: skip
TIMM_SE: Rules = ((r'\.se\.fc(\d)\.', r'.se_layer.conv\1.conv.'),)
LEGACY_SE: Rules = (
    (r'\.se_module\.fc(\d)\.', r'.se_layer.conv\1.conv.'),
    (r'^layer0\.', ''),
    (r'^last_linear\.', 'fc.'),
)


def _inverse_stem(rules: Rules) -> Rules:
    """Rules back to a stem's names; ``bn1`` is its last norm only where ``conv1`` is deep."""
    return tuple(
        (rf'^{re.escape(ours)}', pattern.removeprefix('^').replace('\\.', '.')) for pattern, ours in rules
    )


def _has_deep_stem(names: Iterable[str]) -> bool:
    return any(name.startswith('conv1.0.') for name in names)


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout('timm_legacy', _any_match(r'\.se_module\.'), LEGACY_SE,
               ((r'\.se_layer\.conv(\d)\.conv\.', r'.se_module.fc\1.'), (r'^(conv1|bn1)\.', r'layer0.\1.'),
                (r'^fc\.', 'last_linear.')), 'last_linear'),
        Layout('timm', _any_match(r'\.se\.fc\d\.'), TIMM_SE,
               ((r'\.se_layer\.conv(\d)\.conv\.', r'.se.fc\1.'),)),
        Layout('mmpose_scnet', _is_mmpose_scnet,
               MMPOSE_SCNET + MODULE_STEM,
               tuple((rf'^(layer\d+\.\d+)\.{ours}\.', rf'\1.{theirs}.') for theirs, ours in
                     (('conv1', 'conv1_a'), ('bn1', 'bn1_a'), ('conv2', 'conv1_b'), ('bn2', 'bn1_b')))
               + _inverse_stem(MODULE_STEM), 'head.fc'),
        Layout('mmpretrain', _any_match(r'^stem\.\d\.conv\.'), MODULE_STEM, _inverse_stem(MODULE_STEM),
               'head.fc'),
        Layout('mmdet', _any_match(r'^stem\.0\.weight'), MMDET_STEM, _inverse_stem(MMDET_STEM)),
        Layout('mmpose', None, MODULE_STEM, _inverse_stem(MODULE_STEM)),
        Layout('torchvision'),
        Layout('scnet_authors'),
        Layout('inimg_mm'),
    )
}  # fmt: skip
"""By name. Layouts are detected in this order; a dict that none of them claims is in our names."""


def detect(names: Iterable[str]) -> str:
    """Name of the layout of a state dict with these names, 'inimg_mm' where the names are ours."""
    names = set(names)
    for layout in LAYOUTS.values():
        if layout.detect is not None and layout.detect(names):
            return layout.name
    return 'inimg_mm'


def get(name: str) -> Layout:
    """Look a layout up.

    Raises:
        ValueError: If there is none of that name; all are named.
    """
    if name not in LAYOUTS:
        raise ValueError(f'unknown source {name!r}; choose from {["auto", *LAYOUTS]}')
    return LAYOUTS[name]


def to_native(state: StateDict, source: str = 'auto') -> StateDict:
    """The same tensors in our names.

    Args:
        state: Weights of a backbone, with or without a classifier.
        source: A layout's name, or 'auto' to detect it.

    Raises:
        ValueError: If ``source`` is unknown.
    """
    layout = get(detect(state) if source == 'auto' else source)
    return {_rename(name, layout.to_native): value for name, value in state.items()}


def from_native(state: StateDict, target: str) -> StateDict:
    """The same tensors in another layout's names.

    Args:
        state: Weights of a backbone in our names, with or without a classifier.
        target: A layout's name.

    Raises:
        ValueError: If ``target`` is unknown, or has no place for a tensor (the gates of this package).
    """
    layout = get(target)
    if target != 'inimg_mm':
        ours = [name for name in state if '.gate.' in name]
        if ours:
            raise ValueError(f'{target} has no place for {ours[0]}: only SE gates exist there')
    rules = layout.from_native
    if not _has_deep_stem(state):
        rules = tuple(rule for rule in rules if not rule[1].startswith('stem.'))
    return {_rename(name, rules): value for name, value in state.items()}


def _rename(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name
