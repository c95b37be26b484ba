"""The names of pytorchcv's Inception-v3, whose convolutions are numbered by their branch and place in it.

Its ``features.stage2.unit1.branches.branch2.conv_list.conv3.bn`` is our ``Mixed_6a.branch3x3dbl_3.bn``.
"""

import re
from collections.abc import Iterator

from inimg_mm.models.backbones.inception_blocks import Conv, Step
from inimg_mm.models.backbones.inception_v3 import STAGES, STEMS

Rules = tuple[tuple[str, str], ...]


def _modules() -> Iterator[tuple[str, str]]:
    """Its and our name of every convolution with its norm."""
    stem = [*(conv.name for conv in STEMS['3x3']), *STAGES[0]]
    yield from ((f'features.init_block.conv{index}', ours) for index, ours in enumerate(stem, 1))
    for stage, blocks in enumerate(STAGES[1:], 1):
        for unit, (block, branches) in enumerate(blocks.items(), 1):
            assert not isinstance(branches, Conv)  # those end in the stem
            for index, steps in enumerate(branches, 1):
                branch = f'features.stage{stage}.unit{unit}.branches.branch{index}'
                yield from ((f'{branch}.{theirs}', f'{block}.{ours}') for theirs, ours in _in_branch(steps))


def _in_branch(steps: tuple[Step, ...]) -> Iterator[tuple[str, str]]:
    convs = [step for step in steps if isinstance(step, Conv)]
    if len(convs) == 1 and convs[0].kernel == (1, 1) and not _splits(steps):
        yield 'conv', convs[0].name
    else:
        yield from ((f'conv_list.conv{index}', conv.name) for index, conv in enumerate(convs, 1))
    for conv in _splits(steps):
        yield f'conv{conv.kernel[0]}x{conv.kernel[1]}', conv.name


def _splits(steps: tuple[Step, ...]) -> tuple[Conv, ...]:
    """The convolutions side by side that end a branch."""
    return steps[-1] if isinstance(steps[-1], tuple) else ()


MODULES = tuple(_modules())
TO_NATIVE: Rules = tuple((rf'^{re.escape(theirs)}\.', f'{ours}.') for theirs, ours in MODULES)
FROM_NATIVE: Rules = tuple((rf'^{re.escape(ours)}\.', f'{theirs}.') for theirs, ours in MODULES)
"""Rules from its names to ours and back, the classifier's aside."""


def is_theirs(names: set[str]) -> bool:
    """Whether a state dict with these names is of its Inception-v3."""
    return any(name.startswith('features.stage1.unit1.branches.branch4.conv.') for name in names)
