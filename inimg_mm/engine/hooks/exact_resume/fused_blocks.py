"""The forms in which a training computes its blocks: those of another one are not the same bit by bit."""

from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import nn

from inimg_mm.engine.hooks.optim_wrappers import optim_wrappers
from inimg_mm.models.backbones.block_forms import block_forms
from inimg_mm.models.backbones.blocks import ResidualBlock
from inimg_mm.models.eager import autocast_dtype
from inimg_mm.models.fused import why_not

Forms = dict[str, str]
"""The form of each block, fused or plain, by its name."""


def forms_of(runner: Any) -> Forms:
    """The forms that the model's blocks take now, in this run's precision on this machine."""
    model: nn.Module = runner.model.module if is_model_wrapper(runner.model) else runner.model
    weight = next(model.parameters())
    dtype: torch.dtype | None = None
    for wrapper in optim_wrappers(runner)[:1]:
        with wrapper.optim_context(runner.model):
            dtype = autocast_dtype(weight.device.type)
    like = torch.empty(1, 8, 4, 4, dtype=dtype or weight.dtype, device=weight.device)
    switches = {block.fused for block in model.modules() if isinstance(block, ResidualBlock)} - {False}
    reason = next((why_not(switch, like) for switch in switches), None)  # a net has one
    forms = dict(block_forms(model))
    if reason is not None:
        forms = {name: form if _is_plain(form) else f'plain: {reason}' for name, form in forms.items()}
    return forms


def other_forms(here: Forms, there: Forms) -> str | None:
    """Which blocks take another form than in a checkpoint, in a sentence; None if there are none."""
    names = [name for name in here if name in there and _differ(here[name], there[name])]
    if not names:
        return None
    more = f' and {len(names) - 3} more' if names[3:] else ''
    first = names[0]
    return (
        f'Of the checkpoint, {", ".join(names[:3])}{more} take another form: '
        f'{there[first]} there, {here[first]} here. They agree but for rounding: this is not bit by bit '
        'the run that was interrupted'
    )


def _is_plain(form: str) -> bool:
    return form.startswith('plain')


def _differ(one: str, other: str) -> bool:
    """Whether these are two forms; the reasons for a plain one may be different."""
    return one != other and not (_is_plain(one) and _is_plain(other))
