"""Whether a backbone that starts from random weights is kept from learning."""

import re
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from inimg_mm.config_tree import Node, backbone_nodes, is_pretrained, nodes, type_name
from inimg_mm.models.backbones import Backbone

from .findings import FAULT, Finding


def check_from_scratch(cfg: Config) -> list[Finding]:
    """Name what stays as it was drawn: stages frozen, or statistics kept, that no file fills.

    Args:
        cfg: Config of a training that neither starts nor goes on from a checkpoint of the whole model.
    """
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return [
            finding
            for path, node in backbone_nodes(cfg.model)
            if not any(_filled(part) for part in _around(cfg, path))
            for finding in _kept_random(path, node)
        ]


def _around(cfg: Config, path: str) -> list[Any]:
    """The parts that a dotted path goes through, the last included."""
    parts: list[Any] = [cfg]
    for step in path.split('.'):
        parts.append(parts[-1][int(step) if step.isdigit() else step])
    return parts[1:]


def _filled(node: Any) -> bool:
    """Whether a part of a model is given a file."""
    if not isinstance(node, dict):
        return False
    return bool(node.get('pretrained')) or any(is_pretrained(init) for init in nodes(node.get('init_cfg')))


def _kept_random(path: str, node: Node) -> list[Finding]:
    frozen, still = _frozen(node), node.get('norm_eval') is True and _keeps_statistics(node)
    remedy = f'{path}.frozen_stages=-1' if frozen else ''
    remedy += f' {path}.norm_eval=False' if still else ''
    texts = []
    if frozen:
        texts.append(f'{frozen} are random and frozen (frozen_stages={node["frozen_stages"]})')
    if still:
        texts.append('the statistics of its norms stay 0 and 1 (norm_eval=True)')
    if not texts:
        return []
    return [
        Finding('scratch', FAULT, f'{path} starts from nothing: {", and ".join(texts)}', (remedy.strip(),))
    ]


def _keeps_statistics(node: Node) -> bool:
    """Whether a backbone's norms are batch norms: those of groups and layers have no statistics."""
    kind = type_name(node.get('norm_cfg') or {}, 'BN')
    return 'BN' in kind or 'BatchNorm' in kind


def _frozen(node: Node) -> str:
    """The parts of a backbone that ``frozen_stages`` keeps; '' if it keeps none."""
    stages = node.get('frozen_stages', -1)
    if not isinstance(stages, int) or stages < 0:
        return ''
    try:
        with torch.device('meta'):
            backbone = MODELS.build({**node, 'init_cfg': None})
    except Exception:  # which the training itself will say
        return f'the stem and the first {stages} stages' if stages else ''
    return ', '.join(frozen_parts(backbone, stages))


def frozen_parts(backbone: Any, stages: int) -> list[str]:
    """Names of the parts with parameters that ``frozen_stages`` keeps: the stem, and so many stages."""
    stage_of = stages_of(backbone)
    return [
        name
        for name, part in backbone.named_children()
        if stage_of.get(name, -1) < stages and any(True for _ in part.parameters())
    ]


def stages_of(backbone: Any) -> dict[str, int]:
    """The stage, from 0, of each part of a backbone but its stem: the hosts' have one ``layer…`` a stage."""
    parts = dict(backbone.named_children())
    if isinstance(backbone, Backbone):
        stages = [backbone.stage_modules(stage) for stage in range(backbone.num_stages)]
        return {
            n: stage for stage, modules in enumerate(stages) for n, part in parts.items() if part in modules
        }
    return {name: int(name[5:]) - 1 for name in parts if re.fullmatch(r'layer\d+', name)}
