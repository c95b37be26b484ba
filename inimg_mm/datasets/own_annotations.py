"""Own data in COCO format: what the data sets and the evaluators of a config become."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inimg_mm.config_tree import Node, datasets_of, nodes, type_name
from inimg_mm.data_files.annotation_files import COCO, Found, look_through
from inimg_mm.data_files.checks import reading_of
from inimg_mm.errors import UsageError
from inimg_mm.host_facts import predicts

SPLITS = {'train_dataloader': 'train', 'val_dataloader': 'val', 'test_dataloader': 'val'}
EVALUATORS = ('val_evaluator', 'test_evaluator')

KEPT = (
    'type', 'pipeline', 'filter_cfg', 'test_mode', 'backend_args', 'indices', 'serialize_data', 'lazy_init',
    'max_refetch', 'return_classes', 'data_mode', 'sample_interval', 'data_root', 'metainfo', 'ann_file',
    'data_prefix',
)  # fmt: skip
"""Settings that every data set has; those of another kind have no meaning for a ``CocoDataset``."""

PCK = dict(type='PCKAccuracy', thr=0.2, norm_item='bbox')
"""A keypoint is right within a fifth of the longer side of its object's box."""
METRICS = ('ap', 'pck')
BEST = {'boxes': 'coco/bbox_mAP', 'ap': 'coco/AP', 'pck': 'PCK'}
"""What the best checkpoint is chosen by."""


def read_files(cfg: Node, root: Path, files: Mapping[str, str]) -> dict[str, Found]:
    """What is in the annotation file of each split.

    Raises:
        AnnotationError: If one is missing, cannot be read, or is not of COCO's format.
    """
    loaders = {'train': 'train_dataloader', 'val': 'val_dataloader'}
    return {
        split: look_through(root / name, reading_of(cfg, loaders[split])) for split, name in files.items()
    }


def check_folders(root: Path, folders: Mapping[str, str]) -> None:
    """Raise a :class:`UsageError` if a folder of images is missing."""
    for split, folder in folders.items():
        if not (root / folder).is_dir():
            raise UsageError(
                f'{root} has no folder {folder!r} with the images; {split}_images names another (. is {root})'
            )


def point_data_sets(
    cfg: Node, root: Path, metainfo: Mapping[str, Any], files: Mapping[str, str], images: Mapping[str, str]
) -> list[str]:
    """Have the data sets read own files, as ``CocoDataset``; returns what is said of others before."""
    replaced: dict[str, None] = {}
    for key, split in SPLITS.items():
        if not cfg.get(key):
            continue
        for node in nodes(cfg[key]['dataset']):
            if isinstance(node.get('datasets'), list | tuple):
                node['datasets'] = list(node['datasets'][:1])  # of several parts there is one now
        for dataset in datasets_of(cfg[key]['dataset']):
            if (kind := type_name(dataset)) != COCO:
                replaced[kind] = None
                for name in [name for name in dataset if name not in KEPT]:
                    del dataset[name]
                dataset['type'] = COCO
            settings = dict(data_root=str(root), metainfo=dict(metainfo), ann_file=files[split])
            for name, value in dict(settings, data_prefix=dict(img=images[split])).items():
                dataset[name] = value  # as a whole: a config's own update would merge it into what is there
            dataset.pop('bbox_file', None)  # a person detector's boxes: here the annotated ones count
    return [f'{COCO} takes the place of {kind}' for kind in replaced]


def set_metrics(cfg: Node, path: Path, metrics: Sequence[str] | None) -> list[str]:
    """Have the evaluators read an own file, as ``CocoMetric``; returns what is said of others before.

    Args:
        cfg: The config.
        path: The annotation file of the validation set.
        metrics: Of :data:`METRICS`, for keypoints. Default: AP.
    """
    detects = predicts(cfg.get('default_scope')) == 'boxes'
    replaced: dict[str, None] = {}
    wanted = tuple(metrics or ('ap',))
    for key in EVALUATORS:
        if not cfg.get(key):
            continue
        before = cfg[key] if isinstance(cfg[key], list | tuple) else [cfg[key]]
        coco = [metric for metric in before if type_name(metric) == 'CocoMetric']
        dumps = [metric for metric in before if type_name(metric).startswith('Dump')]
        pck = [metric for metric in before if type_name(metric) == PCK['type']]
        for metric in before:
            if not any(metric is one for one in (*coco, *dumps, *pck)):
                replaced[type_name(metric)] = None
        chosen = list(dumps)
        if 'ap' in wanted:
            chosen += coco or [_coco_metric(cfg, str(path))]
        if 'pck' in wanted:
            chosen += pck or [dict(PCK)]
        for metric in coco:
            if 'ann_file' in metric or detects:
                metric['ann_file'] = str(path)
        cfg[key] = chosen[0] if len(chosen) == 1 and not isinstance(cfg[key], list | tuple) else chosen
    best = 'boxes' if detects else wanted[0]
    if replaced or metrics:
        for hook in nodes(cfg.get('default_hooks') or {}):
            if isinstance(hook.get('save_best'), str) and hook['save_best'] != 'auto':
                hook['save_best'] = BEST[best]
    return [f'CocoMetric takes the place of {kind}' for kind in replaced]


def _coco_metric(cfg: Node, path: str) -> dict[str, Any]:
    if predicts(cfg.get('default_scope')) == 'keypoints':
        return dict(type='CocoMetric', ann_file=path)
    metric = ['bbox', 'segm'] if reading_of(cfg, 'val_dataloader').masks else 'bbox'
    return dict(type='CocoMetric', ann_file=path, metric=metric)


def checked_metrics(metrics: Any) -> tuple[str, ...] | None:
    """The metrics as a tuple.

    Raises:
        UsageError: If one is unknown.
    """
    if metrics is None:
        return None
    names = (metrics,) if isinstance(metrics, str) else metrics
    if not isinstance(names, list | tuple) or not names or not set(names) <= set(METRICS):
        raise UsageError(f'metrics are of {METRICS}, and not {metrics!r}')
    return tuple(dict.fromkeys(names))
