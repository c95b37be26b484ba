"""What is in a checkpoint, in words."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from . import layouts
from .addresses import local_file
from .exporting import split
from .fitting import (
    Fit,
    StateDict,
    grouped,
    holds_gates,
    models_that_fit,
    prefixes_of_backbones,
    width_told,
    widths_of,
    zoo_matches,
)
from .reading import open_checkpoint, under


def inspect(source: str | Path, trust: bool = False) -> str:
    """Describe a checkpoint: its content, whose names it uses, and which models of the zoo it fits.

    Args:
        source: Path or URL, see :func:`.read_state_dict`.
        trust: Unpickle whatever is in the file.

    Returns:
        Lines of 'what: value'.

    Raises:
        CheckpointError: If the file cannot be read or holds no tensors.
    """
    with local_file(str(source)) as path:
        opened, size = open_checkpoint(path, trust), path.stat().st_size
    state = opened.state
    backbone, classifier, rest = split(state)
    prefixes = prefixes_of_backbones(backbone)
    if prefixes:
        rest |= {name: value for name, value in backbone.items() if not name.startswith(prefixes[0])}
        backbone, classifier, _ = split(under(backbone, prefixes[0]))
    layout = layouts.get(layouts.detect(backbone))
    native = layouts.to_native(backbone, layout.name)
    lines = {
        'file': f'{source}, {size / 1e6:.1f} MB',
        'weights': _weights(state),
        'beside them': _beside(opened.content),
        'parts': grouped(state),
        'prefix': ' or '.join(prefixes),
        'backbone': f'{len(backbone)} tensors, {layout.name} names',
        'note': layout.note,
        'classifier': _classifier(classifier),
        'other parts': grouped(rest),
        'gates': grouped(holds_gates(native)),
        'fits': _fits(native),
    }
    return '\n'.join(f'{what}: {value}' for what, value in lines.items() if value)


def _weights(state: StateDict) -> str:
    kinds = Counter(str(value.dtype).removeprefix('torch.') for value in state.values())
    values = sum(value.numel() for value in state.values())
    return f'{len(state)} tensors, {values:,} values, {", ".join(kind for kind, _ in kinds.most_common())}'


def _beside(content: Any) -> str:
    if any(isinstance(value, Tensor) for value in content.values()):
        return ''
    return ', '.join(str(key) for key, value in content.items() if value is not None)


def _classifier(classifier: Mapping[str, Tensor]) -> str:
    main = {n: value for n, value in classifier.items() if f'{layouts.AUXILIARY}.' not in n}
    weight = next((value for name, value in main.items() if name.endswith('weight')), None)
    return '' if weight is None else f'{len(weight)} classes'


def _fits(native: StateDict) -> str:
    """The zoo's models that fit, those of another width that do, or the closest."""
    if names := models_that_fit(native):
        return names
    widths = widths_of(native)
    name, fit = max(zoo_matches(native, widths).items(), key=lambda item: _closeness(item[1]))
    if not fit.loaded and not fit.reshaped:
        return 'no model of the zoo'
    as_wide = fit.share == zoo_matches(native)[name].share
    return f'no model of the zoo; closest is {name}{"" if as_wide else width_told(widths)}: {fit}'


def _closeness(fit: Fit) -> tuple[float, float]:
    """By what fits; then by names, for nets of another width."""
    total = len(fit.loaded) + len(fit.missing) + len(fit.reshaped)
    return fit.share, (total - len(fit.missing) - len(fit.stray)) / total
