"""Which tensors of a checkpoint a model can hold, and which of our models a checkpoint fits."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import torch
from mmengine.config import Config
from torch import nn

from inimg_mm import zoo
from inimg_mm.errors import UsageError
from inimg_mm.models.attention import Gate
from inimg_mm.registry import build_model

from . import layouts
from .own_config import warn_of_differences
from .reading import BACKBONE, Opened, StateDict

Widths = tuple[tuple[str, int], ...]
"""Options of a backbone that say how wide it is, and their values."""

COUNTERS = 'num_batches_tracked'
"""Buffers that do not count as weights."""
OFFSET = '.conv_offset.'
ENOUGH = 0.99
"""Least share of a model's tensors that its file must fill."""


@dataclass
class Fit:
    """A checkpoint against a model.

    Attributes:
        loaded: Names that fit.
        missing: Names of the model that the checkpoint lacks.
        unexpected: Names of the checkpoint that the model lacks.
        stray: Those of them that belong to a part that the model has: the file is of another net,
            e.g. a deeper one, or one with gates.
        reshaped: Names with two shapes, and both, the model's first.
        excused: Missing names that do not count: gates under a warm start, offsets of deformable
            convolutions.
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    excused: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Model tensors filled / model tensors, without batch counters and what is excused."""
        total = len(self.loaded) + len(self.missing) + len(self.reshaped)
        return len(self.loaded) / total if total else 0.0

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.reshaped)
        text = f'{len(self.loaded)} of {total} tensors ({self.share:.1%})'
        offsets = sum(OFFSET in name for name in self.excused)
        if gates := len(self.excused) - offsets:
            text += f'; {gates} of the gates start neutral'
        if offsets:
            text += f'; {offsets} offsets of deformable convolutions start at zero'
        if self.missing:
            text += f'; missing: {grouped(self.missing)}'
        if self.unexpected:
            text += f'; unexpected: {grouped(self.unexpected)}'
        if self.reshaped:
            name, (ours, theirs) = next(iter(self.reshaped.items()))
            text += f'; of another shape: {len(self.reshaped)}, e.g. {name} is {theirs} and should be {ours}'
        return text


def match(model: StateDict, checkpoint: StateDict, excused: Iterable[str] = ()) -> Fit:
    """Compare names and shapes.

    Args:
        model: State dict of the model.
        checkpoint: State dict in the model's names.
        excused: Names whose absence does not count.
    """
    fit, excused = Fit(), set(excused)
    for name, value in model.items():
        if name.endswith(COUNTERS):
            continue
        if name not in checkpoint:
            (fit.excused if name in excused else fit.missing).append(name)
        elif checkpoint[name].shape != value.shape:
            fit.reshaped[name] = tuple(value.shape), tuple(checkpoint[name].shape)
        else:
            fit.loaded.append(name)
    fit.unexpected = [name for name in checkpoint if name not in model and not name.endswith(COUNTERS)]
    parts = {_part(name) for name in model}
    fit.stray = [name for name in fit.unexpected if _part(name) in parts]
    return fit


def prefixes_of_backbones(names: Iterable[str]) -> list[str]:
    """What stands before the names of a file's backbones, ['encoder_q.', …]; none where one has no prefix."""
    pattern = rf'(.*\.|){layouts.IN_EVERY_BACKBONE}'
    found = [match[1] for name in names if (match := re.match(pattern, name))]
    return [] if '' in found else list(dict.fromkeys(found))


def _part(name: str) -> str:
    return name.split('.')[0]


def gate_names(model: nn.Module) -> list[str]:
    """Names of the tensors inside the model's gates."""
    return [
        f'{prefix}.{name}'
        for prefix, module in model.named_modules()
        if isinstance(module, Gate)
        for name in module.state_dict()
    ]


def offset_names(model: nn.Module) -> list[str]:
    """Names of the offsets of deformable convolutions, which start at zero over plain weights."""
    return [name for name in model.state_dict() if OFFSET in name]


def holds_gates(checkpoint: Iterable[str]) -> list[str]:
    """Names of a checkpoint in our names that belong to gates."""
    return [name for name in checkpoint if re.search(r'\.(se_layer|gate)\.', name)]


def zoo_fits(checkpoint: StateDict, at_least: float = ENOUGH, widths: Widths = ()) -> list[str]:
    """Names of the models of the zoo that a backbone's weights fill, with only a classifier left over."""
    fits = zoo_matches(checkpoint, widths)
    return [name for name, fit in fits.items() if fit.share >= at_least and not fit.stray]


def zoo_matches(checkpoint: StateDict, widths: Widths = ()) -> dict[str, Fit]:
    """A backbone's weights against every model of the zoo, by name.

    Args:
        checkpoint: The weights, in our names.
        widths: Build the models that can be built so with these channels, see :func:`widths_of`.
    """
    return {name: match(_zoo_weights(name, widths), checkpoint) for name in zoo.MODELS}


def widths_of(checkpoint: StateDict) -> Widths:
    """The ``base_channels`` and ``stem_channels`` of a residual net's weights; empty for other nets."""
    stem = checkpoint.get('bn1.weight')
    basic, bottleneck = (checkpoint.get(f'layer1.0.{norm}.weight') for norm in ('bn2', 'bn3'))
    if stem is None or (basic is None and bottleneck is None):
        return ()
    base = len(bottleneck) // 4 if bottleneck is not None else len(basic)  # type: ignore[arg-type]
    return ('base_channels', base), ('stem_channels', len(stem))


def models_that_fit(checkpoint: StateDict) -> str:
    """The zoo's models that a backbone's weights fill, as 'seresnet18 with base_channels=32'; '' if none."""
    for widths in ((), widths_of(checkpoint)):
        if names := zoo_fits(checkpoint, widths=widths):
            return ', '.join(names) + width_told(widths)
    return ''


def width_told(widths: Widths) -> str:
    """' with base_channels=32', and the stem's where that is another."""
    told = [pair for pair in widths if pair[0] != 'stem_channels' or pair[1] != widths[0][1]]
    return f' with {", ".join(f"{option}={value}" for option, value in told)}' if told else ''


@cache
def _zoo_weights(name: str, widths: Widths = ()) -> StateDict:
    """Names and shapes of a model's tensors, without memory behind them."""
    try:
        with torch.device('meta'):
            return zoo.build(name, **dict(widths)).state_dict()
    except (TypeError, ValueError):  # a family without these options, or groups that need more channels
        if not widths:
            raise
        return _zoo_weights(name)


def grouped(names: Iterable[str], most: int = 6) -> str:
    """Names counted by what they begin with: '12 layer1.*, 2 fc.*'."""
    counts = Counter(_part(name) for name in names)
    shown = [f'{count} {top}.*' for top, count in counts.most_common(most)]
    return ', '.join(shown) + (', …' if len(counts) > most else '')


def whole_fit(model: nn.Module, state: StateDict) -> tuple[Fit, Fit]:
    """Compare a checkpoint's weights with a whole model.

    Returns:
        The fit of the model, and that of its backbone to the tensors named ``backbone.*``.
    """
    own = model.state_dict(keep_vars=True)  # as they are: only names and shapes count
    backbones = [{name: v for name, v in d.items() if name.startswith(BACKBONE)} for d in (own, state)]
    return match(own, state), match(*backbones)


def is_enough(fit: Fit) -> bool:
    """Whether a file is of the model: it fills it, and next to nothing of its parts is left over."""
    return fit.share >= ENOUGH and len(fit.stray) <= (1 - ENOUGH) * len(fit.loaded)


def check_fit(cfg: Config, checkpoint: Opened, heads: bool = True, model: nn.Module | None = None) -> None:
    """Refuse a checkpoint of another model, of which mmengine loads what it can and warns.

    One that fits, and was trained with other arguments that change no shape, is warned of.

    Args:
        cfg: Config of the model.
        checkpoint: The checkpoint.
        heads: Whether all must fit, or the backbone is enough, as for training on other classes.
        model: The model, of which names and shapes are looked at, if it is built already.

    Raises:
        UsageError: If too little fits, or the checkpoint is in shards that only resuming reads.
    """
    if checkpoint.in_parts:
        raise UsageError(
            f'{checkpoint.source} is a folder of shards, which only --resume reads; zero_to_fp32.py, that '
            'DeepSpeed leaves in the work folder, makes one file of them'
        )
    fit, backbone = whole_fit(build_model(cfg) if model is None else model, checkpoint.state)
    if is_enough(fit) or (not heads and is_enough(backbone)):
        warn_of_differences(cfg, checkpoint)
        return
    raise UsageError(
        f'{checkpoint.source} is not of the model in this config: {fit}. '
        'A backbone alone, or one that gets gates, is loaded by '
        "model.backbone.init_cfg=dict(type='inimg_mm.Pretrained', …)"
    )
