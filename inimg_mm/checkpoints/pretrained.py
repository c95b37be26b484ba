"""The weight initialiser that loads what it should, or stops."""

import logging
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import nn

from inimg_mm import zoo
from inimg_mm.errors import CheckpointError, UsageError
from inimg_mm.models.backbones import Backbone
from inimg_mm.registry import WEIGHT_INITIALIZERS

from . import layouts
from .fitting import (
    COUNTERS,
    ENOUGH,
    Fit,
    gate_names,
    holds_gates,
    match,
    models_that_fit,
    offset_names,
    prefixes_of_backbones,
    zoo_fits,
)
from .reading import BACKBONE, StateDict, read_state_dict, under
from .warm_start import gated_blocks, neutralise, why_impossible


@WEIGHT_INITIALIZERS.register_module('Pretrained')
class Pretrained:
    """Load a checkpoint into a module, whatever project wrote it.

    In a config of any host: ``init_cfg=dict(type='inimg_mm.Pretrained', checkpoint=…)``. On the
    backbones of this package a plain ``type='Pretrained'`` comes here too. Nothing is changed
    unless enough fits; one line says what was loaded.

    Args:
        checkpoint: Path or URL, see :func:`.read_state_dict`.
        source: Whose names the file uses: 'auto' detects it, or a key of :data:`.LAYOUTS`.
        min_loaded: Least share of the module's tensors that the file must fill, without batch
            counters and, under a warm start, without gates.
        prefix: See :func:`.read_state_dict`. A whole model, whose own names begin with
            'backbone.', is filled from a whole model's file.
        map_location: Accepted as mmengine's initialiser has it; the file is read on the CPU and
            copied to where the module is.
        warm_start: Load plain weights into a net with gates so that it computes what the plain
            net did, in eval and in train mode; the gates learn from there.
        trust: Unpickle whatever is in the file.

    Raises:
        CheckpointError: If the file cannot be read safely, too little fits, or the warm start is
            impossible; the message says what the file is, what fits it, and what to write.
    """

    def __init__(
        self,
        checkpoint: str,
        source: str = 'auto',
        min_loaded: float = ENOUGH,
        prefix: str | None = None,
        map_location: Any = None,
        warm_start: bool = False,
        trust: bool = False,
    ) -> None:
        if not isinstance(min_loaded, int | float) or not 0 <= min_loaded <= 1:
            raise UsageError(f'min_loaded is a share from 0 to 1, got {min_loaded!r}')
        if source != 'auto':
            layouts.get(source)
        self.checkpoint = checkpoint
        self.source = source
        self.min_loaded = min_loaded
        self.prefix = prefix
        self.warm_start = warm_start
        self.trust = trust

    def __call__(self, module: nn.Module) -> Fit:
        """Fill ``module``; mmengine's later initialisation of its children leaves it as it is."""
        _refuse_later_initialisers(module)
        own = module.state_dict()
        state, source = self._read(own)
        blocks = self._blocks_to_neutralise(module, state)
        fit = self._match(module, state, gate_names(module) if self.warm_start else [])
        if not self._is_enough(fit):
            raise self._error(fit, module, state, source)
        _initialise_children(module)
        own = module.state_dict()
        with torch.no_grad():
            counters = [name for name in own if name.endswith(COUNTERS) and name in state]
            for name in fit.loaded + counters:
                own[name].copy_(state[name])
        for block in blocks:
            neutralise(block)
        _mark(module, self.checkpoint)
        level = logging.WARNING if fit.reshaped else logging.INFO
        text = f'loaded {self.checkpoint} ({source} names): {fit}{_note(source)}'
        print_log(text, logger='current', level=level)
        return fit

    def _read(self, own: StateDict) -> tuple[StateDict, str]:
        """The file's tensors in the names of the state dict ``own``, and the layout that they had."""
        whole = any(name.startswith(BACKBONE) for name in own)
        prefix = '' if whole and self.prefix is None else self.prefix
        state = read_state_dict(self.checkpoint, prefix, self.trust)
        source = layouts.detect(state) if self.source == 'auto' else self.source
        target = layouts.detect(own)
        if whole or source == target:
            return state, source
        native = layouts.to_native(state, source)
        return layouts.from_native(native, target) if target != layouts.OURS else native, source

    def _blocks_to_neutralise(self, module: nn.Module, state: StateDict) -> list[Any]:
        if not self.warm_start:
            return []
        if not isinstance(module, Backbone):
            raise CheckpointError(
                f'warm_start=True belongs to a backbone of inimg_mm, not to {type(module).__name__}'
            )
        gates = holds_gates(state)
        if gates:
            raise CheckpointError(
                f'{self.checkpoint} already has gates ({gates[0]}), and a warm start would undo what they '
                'learned: write init_cfg.warm_start=False',
                remedy='init_cfg.warm_start=False',
            )
        return gated_blocks(module)

    def _error(self, fit: Fit, module: nn.Module, state: StateDict, source: str) -> CheckpointError:
        """What the file is, what fits it, and what to write."""
        file = f'{self.checkpoint} ({source} names)'
        text = f'{file} does not fit this {type(module).__name__}: {fit}{_note(source)}.'
        if fit.stray:
            text += f' This net has no place for {len(fit.stray)} of its tensors, e.g. {fit.stray[0]}.'
        else:
            text += f' min_loaded={self.min_loaded} wants more.'
        if fit.reshaped and all('.se_layer.' in name for name in fit.reshaped):
            text += ' Its SE layers have other widths: attention=dict(divisor=8) rounds them as timm does.'
        without_gates = self._match(module, state, gate_names(module))
        if isinstance(module, Backbone) and without_gates.excused and self._is_enough(without_gates):
            if reason := why_impossible(module):
                return CheckpointError(
                    f"{text} These are a plain net's weights and this net has gates, and {reason}: give the "
                    'weights of a net with these gates, or init_cfg=None'
                )
            remedy = self._to_write(warm_start=True)
            return CheckpointError(
                f"{text} These are a plain net's weights and this net has gates: write {remedy}"
                f'{_further(module)}',
                remedy,
            )
        if prefixes := self._prefixes_that_fit(module):
            remedy = self._to_write(prefix=prefixes[0])
            text += f' {len(prefixes)} of its parts {"fits" if len(prefixes) == 1 else "fit"}: write {remedy}'
            return CheckpointError(text + ''.join(f' or {prefix!r}' for prefix in prefixes[1:]), remedy)
        if fit.reshaped and not isinstance(module, Backbone) and not (fit.missing or fit.stray):
            return CheckpointError(f'{text} {_of_other_classes(fit)}')
        names = models_that_fit(layouts.to_native(state))
        text += f' The file fits {names};' if names else ' It fits no model of the zoo either;'
        wanted = [(name, url) for name in zoo_fits(module.state_dict()) if (url := zoo.get(name).weights)]
        published = ''.join(f' (published for {name}: {url})' for name, url in wanted)
        return CheckpointError(f'{text} give the weights of this net{published}, or init_cfg=None')

    def _match(self, module: nn.Module, state: StateDict, excused: list[str]) -> Fit:
        return match(module.state_dict(), state, excused + offset_names(module))

    def _is_enough(self, fit: Fit) -> bool:
        return fit.share >= self.min_loaded and not fit.stray

    def _prefixes_that_fit(self, module: nn.Module) -> list[str]:
        """Prefixes under which the file has what this backbone wants, where none was given."""
        if self.prefix is not None or not isinstance(module, Backbone):
            return []
        whole = read_state_dict(self.checkpoint, '', self.trust)
        fitting = []
        for prefix in prefixes_of_backbones(whole):
            native = layouts.to_native(under(whole, prefix), self.source)
            if self._is_enough(self._match(module, native, gate_names(module))):
                fitting.append(prefix.removesuffix('.'))
        return fitting

    def _to_write(self, **options: Any) -> str:
        """The ``init_cfg`` of this initialiser with other options; None is none."""
        given = dict(source=self.source, prefix=self.prefix, warm_start=self.warm_start) | options
        default = dict(source='auto', prefix=None, warm_start=False)
        text = ''.join(f', {key}={value!r}' for key, value in given.items() if value != default[key])
        return f"init_cfg=dict(type='inimg_mm.Pretrained', checkpoint={self.checkpoint!r}{text})"


def _note(source: str) -> str:
    note = layouts.get(source).note
    return f'; {note}' if note else ''


def _of_other_classes(fit: Fit) -> str:
    """What to write for a part of a model whose last layers alone have other shapes than the file's."""
    text = "Where that is for the data's other classes, write init_cfg=None in this part"
    tenths = int(fit.share * 10)
    return f'{text}, or min_loaded={tenths / 10} to load what fits' if tenths else text


def _further(backbone: Backbone) -> str:
    """What else a warm start of this net needs."""
    try:
        gated_blocks(backbone)
    except CheckpointError as error:
        return f'. Then {error}'
    return ''


def _refuse_later_initialisers(module: nn.Module) -> None:
    """mmengine applies a list of initialisers in order; those after this one would undo it."""
    listed = getattr(module, 'init_cfg', None)
    if not isinstance(listed, list | tuple):
        return
    types = [cfg.get('type') for cfg in listed]
    ours = [index for index, kind in enumerate(types) if kind in ('inimg_mm.Pretrained', Pretrained)]
    if ours and ours[-1] != len(types) - 1:
        raise CheckpointError(
            f'init_cfg lists {types[-1]} after Pretrained, which would overwrite what is loaded: '
            'put Pretrained last'
        )


def _mark(module: nn.Module, checkpoint: str) -> None:
    """Say in mmengine's words that the module is initialised, and from what.

    The hosts' own ``init_weights`` start residual blocks at zero after mmengine's, unless they see this.
    """
    if isinstance(module, BaseModule):
        module.init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
        module.is_init = True


def _initialise_children(module: nn.Module) -> None:
    """Initialise the children now and mark them, so that mmengine does not do it over what is loaded."""
    for child in module.children():
        initialise = getattr(child, 'init_weights', None)
        if initialise is None or getattr(child, 'is_init', False):
            continue
        initialise()
        if not isinstance(child, BaseModule):  # which marks itself
            vars(child)['is_init'] = True
