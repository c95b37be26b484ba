"""A config's model, and whether a checkpoint is of it."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from inimg_mm.checkpoints.fitting import Fit, match
from inimg_mm.checkpoints.reading import BACKBONE, read_state_dict
from inimg_mm.registry import type_name

ENOUGH = 0.99
"""Least share of a model's tensors that its file must fill."""


def build_model(cfg: Config) -> Any:
    """Build the model as a runner of the config's host does; it is not initialised yet."""
    settings = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):
        settings.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(settings)


def is_pretrained(init_cfg: Mapping[str, Any]) -> bool:
    """Whether an ``init_cfg`` loads a file, by mmengine's initialiser or by ours."""
    return type_name(init_cfg) in ('Pretrained', 'PretrainedInit')


def whole_fit(model: Any, checkpoint: str, trust: bool = False) -> tuple[Fit, Fit]:
    """Compare a checkpoint with a whole model.

    Args:
        model: The model.
        checkpoint: Path or URL.
        trust: Unpickle whatever is in the file.

    Returns:
        The fit of the model, and that of its backbone to the file's tensors named ``backbone.*``.

    Raises:
        CheckpointError: If the file cannot be read safely.
    """
    own, state = model.state_dict(), read_state_dict(checkpoint, '', trust)
    backbones = [{name: v for name, v in d.items() if name.startswith(BACKBONE)} for d in (own, state)]
    return match(own, state), match(*backbones)


def is_enough(fit: Fit) -> bool:
    """Whether a file is of the model: it fills it, and next to nothing of its parts is left over."""
    return fit.share >= ENOUGH and len(fit.stray) <= (1 - ENOUGH) * len(fit.loaded)
