"""The names of pytorchcv's ResNets, pre-activation and wide ones, PyramidNets and SCNets, with SE or without.

Its Inception-v3 has names of another kind, see :mod:`.pytorchcv_inception`.

Its ``features.stage2.unit3.body.conv1.bn`` is our ``layer2.2.bn1`` in every family; what stems, shortcuts and
the norm that ends a PyramidNet's block are called depends on the family, which the names tell.
"""

import re
from collections.abc import Callable

from . import pytorchcv_inception as inception

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
UNIT = r'^features\.stage(\d+)\.unit(\d+)\.'
BLOCK = r'^layer(\d+)\.(\d+)\.'

SC_PARTS = (
    ('conv1a.conv', 'conv1_a'),
    ('conv1a.bn', 'bn1_a'),
    ('conv1b.conv', 'conv1_b'),
    ('conv1b.bn', 'bn1_b'),
    ('conv2a.conv', 'k1.0'),
    ('conv2a.bn', 'k1.1'),
    ('conv2b.down.conv.conv', 'scconv.k2.1'),
    ('conv2b.down.conv.bn', 'scconv.k2.2'),
    ('conv2b.conv1.conv', 'scconv.k3.0'),
    ('conv2b.conv1.bn', 'scconv.k3.1'),
    ('conv2b.conv2.conv', 'scconv.k4.0'),
    ('conv2b.conv2.bn', 'scconv.k4.1'),
)
"""What its SCNet's ``body`` has, and what ours is called."""
DEEP_STEM = (
    ('conv1.conv', 'conv1.0'),
    ('conv1.bn', 'conv1.1'),
    ('conv2.conv', 'conv1.3'),
    ('conv2.bn', 'conv1.4'),
    ('conv3.conv', 'conv1.6'),
    ('conv3.bn', 'bn1'),
)
"""The same of a deep stem's ``init_block``."""


def is_pytorchcv(names: set[str]) -> bool:
    """Whether a state dict with these names is pytorchcv's."""
    return inception.is_theirs(names) or any(re.match(rf'{UNIT}body\.conv1a?\.', name) for name in names)


def to_native(names: set[str]) -> Rules:
    """Rules from the names of one of its nets to ours, the classifier's aside."""
    if inception.is_theirs(names):
        return inception.TO_NATIVE
    three = any('.body.conv3.' in name for name in names)
    return (
        *((rf'{UNIT}body\.{re.escape(theirs)}\.', _in_block(f'{ours}.')) for theirs, ours in SC_PARTS),
        (rf'{UNIT}body\.conv(\d)\.(conv|bn)\.', _in_block('{4}{3}.')),
        (rf'{UNIT}bn\.', _in_block(f'bn{4 if three else 3}.')),
        (rf'{UNIT}identity_block\.conv\.conv\.', _in_block('downsample.1.')),
        (rf'{UNIT}identity_block\.conv\.bn\.', _in_block('downsample.2.')),
        (rf'{UNIT}identity_(conv|block)\.bn\.', _in_block('downsample.1.')),
        (rf'{UNIT}identity_(conv|block)\.(conv\.)?', _in_block('downsample.0.')),
        (rf'{UNIT}se\.conv(\d)\.', _in_block('se_layer.conv{3}.conv.')),
        *((rf'^features\.init_block\.{re.escape(theirs)}\.', f'{ours}.') for theirs, ours in DEEP_STEM),
        (r'^features\.init_block\.(conv\.)?bn\.', 'bn1.'),
        (r'^features\.init_block\.(conv\.)*', 'conv1.'),
        (r'^features\.post_activ\.bn\.', 'norm.'),
    )


def from_native(names: set[str]) -> Rules:
    """Rules from the names of one of our nets to its, the classifier's aside."""
    if 'Conv2d_1a_3x3.conv.weight' in names:
        return inception.FROM_NATIVE
    convs = [match for name in names if (match := re.match(rf'{BLOCK}conv(\d)\.', name))]
    last = max((int(conv[3]) for conv in convs), default=3)
    ends_in_norm = any(re.match(rf'{BLOCK}bn{last + 1}\.', name) for name in names)
    is_sc, is_deep = _is_scnet(names), any(name.startswith('conv1.0.') for name in names)
    projects_with_norm = any('.downsample.1.' in name for name in names)
    stem = 'features.init_block.'
    conv, norm = ('conv.conv.', 'conv.bn.') if projects_with_norm else ('conv.', 'bn.')
    if 'bn1.weight' not in names:
        conv = ''
    shortcut = 'identity_block.' if is_sc else 'identity_conv.'
    return (
        *((rf'{BLOCK}{re.escape(ours)}\.', _in_unit(f'body.{theirs}.')) for theirs, ours in SC_PARTS),
        (rf'{BLOCK}conv(\d)\.', _in_unit('body.conv{3}.conv.')),
        *(((rf'{BLOCK}bn{last + 1}\.', _in_unit('bn.')),) if ends_in_norm else ()),
        (rf'{BLOCK}bn(\d)\.', _in_unit('body.conv{3}.bn.')),
        (rf'{BLOCK}downsample\.0\.', _in_unit(shortcut + ('conv.' if projects_with_norm else ''))),
        (rf'{BLOCK}downsample\.1\.', _in_unit(shortcut + ('conv.conv.' if _pools(names) else 'bn.'))),
        (rf'{BLOCK}downsample\.2\.', _in_unit(f'{shortcut}conv.bn.')),
        (rf'{BLOCK}se_layer\.conv(\d)\.conv\.', _in_unit('se.conv{3}.')),
        *((rf'^{re.escape(ours)}\.', f'{stem}{theirs}.') for theirs, ours in DEEP_STEM if is_deep),
        (r'^conv1\.', stem + conv),
        (r'^bn1\.', stem + norm),
        (r'^norm\.', 'features.post_activ.bn.'),
    )


def lacks(names: set[str]) -> tuple[str, ...]:
    """Patterns of our names that have no place in its names: it has deep stems and pools in SCNets alone."""
    always = (r'\.gate\.', r'^input_norm\.', r'^Mixed_\w+\.se_layer\.', r'^Conv2d_1a_7x7\.', r'^AuxLogits\.')
    if _is_scnet(names):
        return (*always, r'\.se_layer\.')
    return (*always, r'^conv1\.0\.', *((r'\.downsample\.1\.',) if _pools(names) else ()))


def _is_scnet(names: set[str]) -> bool:
    return any('.scconv.' in name for name in names)


def _pools(names: set[str]) -> bool:
    """Whether the shortcuts' convolutions come after a pool."""
    projections = [name for name in names if '.downsample.' in name]
    return bool(projections) and not any('.downsample.0.' in name for name in projections)


def _in_block(part: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f'layer{match[1]}.{int(match[2]) - 1}.' + part.format(match[0], *match.groups())


def _in_unit(part: str) -> Callable[[re.Match[str]], str]:
    return lambda match: (
        f'features.stage{match[1]}.unit{int(match[2]) + 1}.' + part.format(match[0], *match.groups())
    )
