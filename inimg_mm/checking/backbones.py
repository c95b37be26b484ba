"""Where the built model has the parts of its config."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from inimg_mm.config_tree import SEEING, Node, backbone_nodes

RENAMED = (
    ('backbone_cfg', 'backbone'),
    ('backbone_cfg', 'context_path.backbone'),
    ('detector', 'student'),
)
"""Parts that models keep under other names than their configs: wrapped backbones (of ICNet and of BiSeNet),
soft teachers."""


def part_of(model: Any, path: str) -> Any:
    """The part of a built model that a dotted path of its config, from 'model' on, describes; else None."""
    name = path.partition('.')[2]
    for candidate in (name, *(name.replace(old, new, 1) for old, new in RENAMED)):
        try:
            return model.get_submodule(candidate)
        except AttributeError:
            continue
    return None


def backbones_of(cfg: Config, model: Any) -> dict[str, Any]:
    """The built backbones by their places in the config: 'model.backbone' or 'model.detector.backbone'."""
    parts = {path: part_of(model, path) for path, _ in backbone_nodes(cfg.model)}
    return {path: part for path, part in parts.items() if part is not None}


def owners(cfg: Config, model: Any) -> Iterator[tuple[str, Node, Any]]:
    """The models in a model that have a backbone: their places, configs and modules."""
    for path, _ in backbone_nodes(cfg.model):
        steps = path.split('.')
        steps = steps[: next(index for index, step in enumerate(steps) if step in SEEING)]
        node = cfg.model
        for step in steps[1:]:
            node = node[int(step) if step.isdigit() else step]
        place = '.'.join(steps)
        part = model if place == 'model' else part_of(model, place)
        if hasattr(part, 'backbone') and isinstance(node, dict):
            yield place, node, part
