"""What a metafile says about a config: what it trains, what that needs, and the papers' figures."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from torch import nn

from inimg_mm import zoo
from inimg_mm.config_tree import nodes, type_name
from inimg_mm.registry import MODELS


class Method(NamedTuple):
    """A collection of a metafile.

    Attributes:
        paper: Title of the paper.
        url: Where it is.
    """

    paper: str
    url: str


SCNET_PAGE = (
    'https://openaccess.thecvf.com/content_CVPR_2020/html/'
    'Liu_Improving_Convolutional_Networks_With_Self-Calibrated_Convolutions_CVPR_2020_paper.html'
)
METHODS = {
    'ResNet': Method('Deep Residual Learning for Image Recognition', f'https://arxiv.org/abs/{zoo.RESNET}'),
    'SE': Method('Squeeze-and-Excitation Networks', f'https://arxiv.org/abs/{zoo.SENET}'),
    'CMPE-SE': Method(
        'Competitive Inner-Imaging Squeeze and Excitation for Residual Network',
        f'https://arxiv.org/abs/{zoo.CMPE_SE}',
    ),
    'InI': Method(
        'Inner-Imaging Networks: Put Lenses into Convolutional Structure',
        f'https://arxiv.org/abs/{zoo.INNER_IMAGING}',
    ),
    'SCNet': Method('Improving Convolutional Networks with Self-Calibrated Convolutions', SCNET_PAGE),
    'PreAct-ResNet': Method(
        'Identity Mappings in Deep Residual Networks', f'https://arxiv.org/abs/{zoo.PREACT}'
    ),
    'WRN': Method('Wide Residual Networks', f'https://arxiv.org/abs/{zoo.WIDE}'),
    'PyramidNet': Method('Deep Pyramidal Residual Networks', f'https://arxiv.org/abs/{zoo.PYRAMID}'),
    'Inception': Method(
        'Rethinking the Inception Architecture for Computer Vision', f'https://arxiv.org/abs/{zoo.INCEPTION}'
    ),
}
"""The methods by the name that is put before the net's, SCNet, with a gate or without, and the plain nets."""

NETS = {
    'SCNet': 'SCNet',
    'PreActResNet': 'PreAct-ResNet',
    'WideResNet': 'WRN',
    'PyramidNet': 'PyramidNet',
    'InceptionV3': 'Inception',
}
"""The families that are no ResNet; a net without gates is in the collection of this name."""
GATE_NAMES = {'SE': 'SE', 'CMPESE': 'CMPE-SE', 'InnerImaging': 'InI'}
VIEWS = {
    'double_fc': 'double FC',
    'pair_2x1': '2x1 pair view',
    'pair_1x1': '1x1 pair view',
    'folded_3x3': 'folded 3x3',
}
MODEL_NAMES = {
    'FasterRCNN': 'Faster R-CNN',
    'CascadeRCNN': 'Cascade R-CNN',
    'MaskRCNN': 'Mask R-CNN',
    'TopdownPoseEstimator': 'top-down heatmap',
    'ImageClassifier': 'classifier',
    'FCNHead': 'FCN',
    'PSPHead': 'PSPNet',
}


def model_label(cfg: Config) -> str:
    """What a model is called, without its backbone."""
    kind = type_name(cfg.model)
    if kind == 'EncoderDecoder':
        head = cfg.model.decode_head
        kind = type_name(head)
        if kind == 'FCNSkipHead':
            return f'FCN-{32 // 2 ** head.get("skips", 2)}s'
    if kind == 'CascadeRCNN' and any('mask_head' in node for node in nodes(cfg.model)):
        return 'Cascade Mask R-CNN'
    return MODEL_NAMES.get(kind, kind)


def backbone_label(settings: dict[str, Any]) -> str:
    """What a backbone is called: gate, net, depth and what is not usual about it."""
    gate, name = _gate(settings), _net(settings)
    if settings.get('deep_stem') and settings.get('avg_down'):
        name += ' v1d'
    if (strides := list(settings.get('strides', ()))) and 1 in strides[1:]:
        name += f'-d{4 * strides[0] * strides[1] * strides[2] * strides[3]}'
    if gate:
        name = f'{GATE_NAMES[gate["type"]]}-{name}'
    notes = list(_notes(settings, gate))
    return f'{name} ({", ".join(notes)})' if notes else name


def method(settings: dict[str, Any]) -> str:
    """The collection of a backbone, a key of :data:`METHODS`."""
    gate = _gate(settings)
    net = NETS.get(type_name(settings), 'ResNet')
    return net if net == 'SCNet' or not gate else GATE_NAMES[gate['type']]


def zoo_name(settings: dict[str, Any]) -> str | None:
    """Which model of the zoo a backbone's settings build; None if they build another net."""
    built = _fingerprint({key: value for key, value in settings.items() if key != 'init_cfg'})
    return next((name for name, known in _zoo_fingerprints().items() if known == built), None)


@cache
def _zoo_fingerprints() -> dict[str, tuple[str, ...]]:
    return {name: _fingerprint(model.config) for name, model in zoo.MODELS.items()}


def _fingerprint(settings: dict[str, Any]) -> tuple[str, ...]:
    """The names, kinds and options of all modules."""
    with torch.device('meta'):
        net: nn.Module = MODELS.build(settings)
    return tuple(
        f'{name}: {type(module).__name__}({module.extra_repr()})'
        for name, module in net.named_modules()
        if name and (module.extra_repr() or not any(module.children()))
    )


def _gate(settings: dict[str, Any]) -> dict[str, Any] | None:
    family = MODELS.get(settings['type']) if isinstance(settings['type'], str) else settings['type']
    own, asked = getattr(family, 'default_attention', None), settings.get('attention')
    return asked if own is None or 'type' in (asked or {}) else {**own, **(asked or {})}


def _net(settings: dict[str, Any]) -> str:
    """Net and depth."""
    net = NETS.get(type_name(settings), 'ResNet')
    if net == 'Inception':
        return 'Inception-v3'
    if settings.get('groups', 1) > 1 or type_name(settings) == 'SEResNeXt':
        net = net.replace('Net', 'NeXt')
    name = f'{net}-{settings["depth"]}'
    if net == 'WRN':
        name += f'-{settings["widen_factor"]}'
    return f'{name} α{settings["alpha"]}' if net == 'PyramidNet' else name


def _notes(settings: dict[str, Any], gate: dict[str, Any] | None) -> Iterator[str]:
    if gate and gate['type'] == 'CMPESE':
        yield VIEWS[gate.get('view', 'pair_1x1')]
    if gate and gate['type'] == 'InnerImaging':
        yield '+'.join(_ablation(gate))
    if gate and gate.get('stages') is not None and not all(gate['stages']):
        yield 'stages ' + ', '.join(str(index) for index, flag in enumerate(gate['stages'], 1) if flag)
    usual = dict(reduction=16, position='standard', squeeze='avg', excitation='sigmoid')
    yield from (f'{key} {gate[key]}' for key in usual if gate and gate.get(key, usual[key]) != usual[key])
    usual = dict(stem='3x3', padding='valid') if type_name(settings) == 'InceptionV3' else {}
    yield from (f'{key} {settings[key]}' for key in usual if settings.get(key, usual[key]) != usual[key])
    conv = settings.get('conv_cfg')
    if conv and type_name(conv) == 'SeparableConv':
        yield 'separable'
    width = {32: 'half width', 16: 'quarter width'}
    if (channels := settings.get('base_channels', 64)) != 64:
        yield width.get(channels, f'{channels} channels')


def _ablation(gate: dict[str, Any]) -> Iterator[str]:
    """The steps of the paper's ablation that an inner-imaging gate has; the defaults are all three."""
    if gate.get('streams', 2) == 2:
        yield 'D'
    if len(gate.get('filters', (1, 2, 3))) > 1:
        yield 'A'
    if gate.get('fold', 16):
        yield 'F'
