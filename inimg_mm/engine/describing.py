"""What a metafile says about a config: what it trains, what that needs, and the papers' figures."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from torch import nn

from inimg_mm import zoo
from inimg_mm.nodes import nodes
from inimg_mm.registry import MODELS, type_name

from .configs import load_config
from .errors import UsageError
from .model_complexity import input_size, measure_config


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
}
"""The methods by the name that is put before the net's, and SCNet, with a gate or without."""

GATES = {'SE': 'SE', 'CMPESE': 'CMPE-SE', 'InnerImaging': 'InI'}
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
TASK_NAMES = {
    'mmdet': 'Object Detection',
    'mmpretrain': 'Image Classification',
    'mmpose': 'Body 2D Keypoint',
    'mmseg': 'Semantic Segmentation',
}
DATA = {
    'imagenet': 'ImageNet-1k',
    'coco_detection': 'COCO',
    'coco_instance': 'COCO',
    'coco_keypoint': 'COCO',
    'voc_semantic': 'Pascal VOC 2012 + Aug',
    'demo': 'demo digits',
}
"""The data of each folder of configs."""


def describe(path: Path) -> dict[str, Any]:
    """Make the entry of a config in its metafile, with the hosts' keys.

    Args:
        path: ``configs/<task>/<name>.py``.

    Raises:
        ValueError: If the config cannot be read, or its model cannot be built.
    """
    task = path.parent.name
    if task not in DATA:
        raise UsageError(f'{path} is in no folder whose data is known: {", ".join(DATA)} ({__name__}.DATA)')
    cfg = load_config(path)
    size = measure_config(cfg)
    width, height = input_size(cfg)
    backbone = backbone_label(cfg.model.backbone)
    entry: dict[str, Any] = dict(Name=path.stem)
    entry['In Collection'] = method(cfg.model.backbone)
    entry['Config'] = f'configs/{task}/{path.name}'
    entry['Metadata'] = {
        'Host': cfg.default_scope,
        'Architecture': [model_label(cfg), backbone],
        'Training Data': DATA[task],
        **_schedule(cfg),
        'Input Size': f'{width}x{height}',
        'Parameters': size.params,
        'FLOPs': size.macs,
    }
    if figures := _figures(cfg, task):
        entry['Results'] = [
            {'Task': TASK_NAMES[cfg.default_scope], 'Dataset': DATA[task], 'Metrics': figures}
        ]
    name = zoo_name(cfg.model.backbone) if task == 'imagenet' else None
    if name and zoo.MODELS[name].weights:
        entry['Weights'] = zoo.MODELS[name].weights
    return entry


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
    gate, net = _gate(settings), 'SCNet' if _is_scnet(settings) else 'ResNet'
    if settings.get('groups', 1) > 1 or type_name(settings) == 'SEResNeXt':
        net = net.replace('Net', 'NeXt')
    name = f'{net}-{settings["depth"]}'
    if settings.get('deep_stem') and settings.get('avg_down'):
        name += ' v1d'
    if (strides := list(settings.get('strides', ()))) and 1 in strides[1:]:
        name += f'-d{4 * strides[0] * strides[1] * strides[2] * strides[3]}'
    if gate:
        name = f'{GATES[gate["type"]]}-{name}'
    notes = list(_notes(settings, gate))
    return f'{name} ({", ".join(notes)})' if notes else name


def method(settings: dict[str, Any]) -> str:
    """The collection of a backbone, a key of :data:`METHODS`."""
    gate = _gate(settings)
    return 'SCNet' if _is_scnet(settings) else GATES[gate['type']] if gate else 'ResNet'


def zoo_name(settings: dict[str, Any]) -> str | None:
    """Which model of the zoo a backbone's settings build; None if they build another net."""
    built = _fingerprint({key: value for key, value in settings.items() if key != 'init_cfg'})
    return next((name for name, known in _zoo_fingerprints().items() if known == built), None)


@cache
def _zoo_fingerprints() -> dict[str, tuple[str, ...]]:
    return {name: _fingerprint(model.config) for name, model in zoo.MODELS.items()}


def _fingerprint(settings: dict[str, Any]) -> tuple[str, ...]:
    """The names, kinds and options of all modules without children."""
    with torch.device('meta'):
        net: nn.Module = MODELS.build(settings)
    return tuple(f'{name}: {module}' for name, module in net.named_modules() if not any(module.children()))


def _gate(settings: dict[str, Any]) -> dict[str, Any] | None:
    family = MODELS.get(settings['type']) if isinstance(settings['type'], str) else settings['type']
    return family._attention_spec(settings.get('attention'))


def _is_scnet(settings: dict[str, Any]) -> bool:
    return type_name(settings) == 'SCNet'


def _notes(settings: dict[str, Any], gate: dict[str, Any] | None) -> Iterator[str]:
    if gate and gate['type'] == 'CMPESE':
        yield VIEWS[gate.get('view', 'pair_1x1')]
    if gate and gate['type'] == 'InnerImaging':
        yield '+'.join(_ablation(gate))
    if gate and gate.get('stages') is not None and not all(gate['stages']):
        yield 'stages ' + ', '.join(str(index) for index, flag in enumerate(gate['stages'], 1) if flag)
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


def _schedule(cfg: Config) -> dict[str, int]:
    loop = cfg.train_cfg
    length = {'Epochs': loop.max_epochs} if 'max_epochs' in loop else {'Iterations': loop.max_iters}
    batch = (cfg.get('auto_scale_lr') or {}).get('base_batch_size') or cfg.train_dataloader.batch_size
    return {**length, 'Batch Size': batch}


def _figures(cfg: Config, task: str) -> dict[str, float]:
    """The papers' figures of the experiment that a config is, and of no other."""
    name = zoo_name(cfg.model.backbone)
    if name is None:
        return {}
    published, kind = zoo.MODELS[name], type_name(cfg.model)
    one_times = cfg.train_cfg.get('max_epochs') == 12
    figures = {
        'Top 1 Accuracy (paper)': published.top1 if task == 'imagenet' else None,
        'box AP (SCNet paper)': published.box_ap
        if (task, kind) == ('coco_detection', 'FasterRCNN') and one_times
        else None,
        'mask AP (SCNet paper)': published.mask_ap
        if (task, kind) == ('coco_instance', 'MaskRCNN') and one_times
        else None,
    }
    return {metric: value for metric, value in figures.items() if value is not None}
