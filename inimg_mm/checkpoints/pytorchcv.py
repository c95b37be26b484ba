"""The names of pytorchcv's ResNets, pre-activation and wide ones and PyramidNets, with SE or without.

Its ``features.stage2.unit3.body.conv1.bn`` is our ``layer2.2.bn1`` in every family; what stems, shortcuts and
the norm that ends a PyramidNet's block are called depends on the family, which the names tell.
"""

import re
from collections.abc import Callable

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
UNIT = r'^features\.stage(\d+)\.unit(\d+)\.'
BLOCK = r'^layer(\d+)\.(\d+)\.'


def is_pytorchcv(names: set[str]) -> bool:
    """Whether a state dict with these names is pytorchcv's."""
    return any(re.match(rf'{UNIT}body\.conv1\.', name) for name in names)


def to_native(names: set[str]) -> Rules:
    """Rules from the names of one of its nets to ours, the classifier's aside."""
    three = any('.body.conv3.' in name for name in names)
    return (
        (rf'{UNIT}body\.conv(\d)\.(conv|bn)\.', _in_block('{4}{3}.')),
        (rf'{UNIT}bn\.', _in_block(f'bn{4 if three else 3}.')),
        (rf'{UNIT}identity_conv\.bn\.', _in_block('downsample.1.')),
        (rf'{UNIT}identity_conv\.(conv\.)?', _in_block('downsample.0.')),
        (rf'{UNIT}se\.conv(\d)\.', _in_block('se_layer.conv{3}.conv.')),
        (r'^features\.init_block\.(conv\.)?bn\.', 'bn1.'),
        (r'^features\.init_block\.(conv\.)*', 'conv1.'),
        (r'^features\.post_activ\.bn\.', 'norm.'),
    )


def from_native(names: set[str]) -> Rules:
    """Rules from the names of one of our nets to its, the classifier's aside.

    Raises:
        ValueError: If the net pools before the convolutions of its pre-activation shortcuts.
    """
    projections = {name for name in names if '.downsample.' in name}
    if projections and not any('.downsample.0.' in name for name in projections):
        raise ValueError(f'pytorchcv has no place for {min(projections)}, a convolution after a pool')
    convs = [match for name in names if (match := re.match(rf'{BLOCK}conv(\d)\.', name))]
    last = max((int(conv[3]) for conv in convs), default=3)
    ends_in_norm = any(re.match(rf'{BLOCK}bn{last + 1}\.', name) for name in names)
    projects_with_norm = any('.downsample.1.' in name for name in projections)
    stem, conv, norm = 'features.init_block.', '', 'bn.'
    if projects_with_norm:  # a ResNet
        conv, norm = 'conv.conv.', 'conv.bn.'
    elif 'bn1.weight' in names:
        conv = 'conv.'
    return (
        (rf'{BLOCK}conv(\d)\.', _in_unit('body.conv{3}.conv.')),
        *(((rf'{BLOCK}bn{last + 1}\.', _in_unit('bn.')),) if ends_in_norm else ()),
        (rf'{BLOCK}bn(\d)\.', _in_unit('body.conv{3}.bn.')),
        (rf'{BLOCK}downsample\.0\.', _in_unit(f'identity_conv.{"conv." if projects_with_norm else ""}')),
        (rf'{BLOCK}downsample\.1\.', _in_unit('identity_conv.bn.')),
        (rf'{BLOCK}se_layer\.conv(\d)\.conv\.', _in_unit('se.conv{3}.')),
        (r'^conv1\.', stem + conv),
        (r'^bn1\.', stem + norm),
        (r'^norm\.', 'features.post_activ.bn.'),
    )


def _in_block(part: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f'layer{match[1]}.{int(match[2]) - 1}.' + part.format(match[0], *match.groups())


def _in_unit(part: str) -> Callable[[re.Match[str]], str]:
    return lambda match: (
        f'features.stage{match[1]}.unit{int(match[2]) + 1}.' + part.format(match[0], *match.groups())
    )
