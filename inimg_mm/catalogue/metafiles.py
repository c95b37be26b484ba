"""Write the metafiles and the model index of a folder of configs."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from inimg_mm import host_facts, zoo
from inimg_mm.config_tree import nodes, type_name
from inimg_mm.errors import UsageError
from inimg_mm.hosts import HOSTS
from inimg_mm.launch.configs import load_config

from . import INDEX, METAFILE, config_files
from .labels import METHODS, backbone_label, method, model_label, zoo_name
from .model_complexity import measure_config

HEAD = """\
# Written by tools/update_catalogue.py. Parameters and FLOPs (multiply-adds of a test image of Input Size) are
# computed from the config; Results are what the papers report: nothing was trained or measured here.
"""
INDEX_HEAD = (
    '# Written by tools/update_catalogue.py. In the wheel: .mim/model-index.yml, with paths from there.\n'
)


def update_metafiles(configs: Path, report: Callable[[Path], None] = lambda path: None) -> list[Path]:
    """Bring every metafile under ``configs/`` and the index of them up to date.

    Args:
        configs: The folder.
        report: Called with each config before it is built, which takes a second or two.

    Returns:
        The files that changed.

    Raises:
        UsageError: If a config cannot be read, or its model cannot be built.
    """
    tasks: dict[str, list[dict[str, Any]]] = {}
    for path in config_files(configs):
        report(path)
        tasks.setdefault(path.parent.name, []).append(describe(path))
    texts = {configs / task / METAFILE: metafile(models) for task, models in tasks.items()}
    texts[configs / INDEX] = model_index(tasks)
    changed = [path for path, text in texts.items() if not path.is_file() or path.read_text() != text]
    for path in changed:
        path.write_text(texts[path])
    return changed


def metafile(models: list[dict[str, Any]]) -> str:
    """The text of the metafile that describes these models and the methods that they stand for."""
    used = {model['In Collection'] for model in models}
    collections = [
        {'Name': name, 'Paper': {'Title': method.paper, 'URL': method.url}}
        for name, method in METHODS.items()
        if name in used
    ]
    content = {'Collections': collections, 'Models': models}
    return HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def model_index(tasks: Iterable[str]) -> str:
    """The text of the index, which is read beside the tasks' folders."""
    return INDEX_HEAD + yaml.safe_dump({'Import': [f'{task}/{METAFILE}' for task in sorted(tasks)]})


DATA: dict[str, str | None] = {
    'imagenet': 'ImageNet-1k',
    'coco_detection': 'COCO',
    'coco_instance': 'COCO',
    'coco_keypoint': 'COCO',
    'voc_semantic': 'Pascal VOC 2012 + Aug',
    'demo': 'demo digits',
    'cifar': None,
    'svhn': 'SVHN',
}
"""The data of each folder of configs; None where they say so themselves."""
CIFAR = {'CIFAR10': 'CIFAR-10', 'CIFAR100': 'CIFAR-100'}
"""Data by the kind of a config's data set."""


def describe(path: Path) -> dict[str, Any]:
    """Make the entry of a config in its metafile, with the hosts' keys.

    Args:
        path: ``configs/<task>/<name>.py``.

    Raises:
        UsageError: If the config cannot be read, or its model cannot be built.
    """
    task = path.parent.name
    if task not in DATA:
        raise UsageError(f'{path} is in no folder whose data is known: {", ".join(DATA)} ({__name__}.DATA)')
    cfg = load_config(path)
    data = DATA[task] or CIFAR[type_name(cfg.train_dataloader.dataset)]
    size = measure_config(cfg)
    width, height = HOSTS[cfg.default_scope].input_size(cfg)
    backbone = backbone_label(cfg.model.backbone)
    entry: dict[str, Any] = dict(Name=path.stem)
    entry['In Collection'] = method(cfg.model.backbone)
    entry['Config'] = f'configs/{task}/{path.name}'
    entry['Metadata'] = {
        'Host': cfg.default_scope,
        'Architecture': [model_label(cfg), backbone],
        'Training Data': data,
        **_schedule(cfg),
        'Input Size': f'{width}x{height}',
        'Parameters': size.params,
        'FLOPs': size.macs,
    }
    if figures := _figures(cfg, task, data):
        entry['Results'] = [
            {'Task': host_facts.HOSTS[cfg.default_scope].task, 'Dataset': data, 'Metrics': figures}
        ]
    name = zoo_name(cfg.model.backbone) if task == 'imagenet' else None
    if name and zoo.MODELS[name].weights:
        entry['Weights'] = zoo.MODELS[name].weights
    return entry


def _schedule(cfg: Config) -> dict[str, int]:
    loop = cfg.train_cfg
    length = {'Epochs': loop.max_epochs} if 'max_epochs' in loop else {'Iterations': loop.max_iters}
    batch = (cfg.get('auto_scale_lr') or {}).get('base_batch_size') or cfg.train_dataloader.batch_size
    return {**length, 'Batch Size': batch}


def _figures(cfg: Config, task: str, data: str) -> dict[str, float]:
    """The papers' figures of the experiment that a config is, and of no other.

    They are the zoo's, or the config's own ``paper_top1``, in %, where its recipe makes the figure.
    """
    if 'paper_top1' in cfg:
        return {'Top 1 Accuracy (paper)': cfg.paper_top1}
    name = zoo_name(cfg.model.backbone)
    if name is None:
        return {}
    published, kind = zoo.MODELS[name], type_name(cfg.model)
    one_times = cfg.train_cfg.get('max_epochs') == 12
    mixed = any(type_name(node) == 'Mixup' for node in nodes(cfg.model))
    accuracy = published.top1
    if task != 'imagenet':
        accuracy = published.cifar.get(f'{data} with mixup' if mixed else data)
    figures = {
        f'Top 1 Accuracy ({"SENet " if published.top1_from else ""}paper)': accuracy,
        'box AP (SCNet paper)': published.box_ap
        if (task, kind) == ('coco_detection', 'FasterRCNN') and one_times
        else None,
        'mask AP (SCNet paper)': published.mask_ap
        if (task, kind) == ('coco_instance', 'MaskRCNN') and one_times
        else None,
    }
    return {metric: value for metric, value in figures.items() if value is not None}
