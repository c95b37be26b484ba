"""Whether a model's heads and its data know the same number of classes and of joints."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS, MODELS

from inimg_mm.config_tree import Node, datasets_of, defaults_of, type_name, walk
from inimg_mm.data_files.annotation_files import read_annotations
from inimg_mm.data_files.class_lists import labels_in_list
from inimg_mm.host_facts import joint_lines, joints_of_line, predicts

from .findings import FAULT, NOTE, OK, Finding

OTHER_CLASSES = ('rpn_head', 'semantic_head', 'text_encoder', 'teacher_ckpt', 'traj_head')
"""Parts of the hosts' models that tell apart something else than the data's classes, or its joints."""
OTHER_MEANING = ('GroundingDINOHead', 'ATSSVLFusionHead', 'STDCHead', 'LinearReIDHead', 'SideAdapterCLIPHead')
"""Heads whose ``num_classes`` counts words, edges or persons, or leaves the background out."""
MORE_NAMES = ('MOTChallengeDataset',)
"""Data sets that name more classes than they give objects of, unless their config says which."""
SEVERAL_LABELS = ('MultiLabel', 'CSRA')
"""What mmpretrain's heads of several labels an image begin with: they have a target for each class."""


class Count(NamedTuple):
    """How many classes or joints something has.

    Attributes:
        place: The line of a head, or the loader of a data set.
        number: How many.
        names: Of the classes, where they are known.
        exact: Of a head, whether too many are wrong as well: joints, several labels, things before stuff.
    """

    place: str
    number: int
    names: Sequence[str] = ()
    exact: bool = False


def check_agreement(cfg: Config, loaders: Sequence[str] = ('train_dataloader',)) -> list[Finding]:
    """Compare every head of a config with what its data sets have.

    With too few classes a detector takes what the last ones show for background, and other models fail in
    the middle of an epoch; what is too much is never predicted. Joints must be as many.

    Args:
        cfg: Config of any host; nothing is built.
        loaders: Those whose data sets count, behind any wrappers.

    Returns:
        A finding for each line of the model that differs, or one that says what agrees; none where a data
        set does not say what it has, or nothing reads it.
    """
    if predicts(cfg.default_scope) == 'keypoints':
        return _compared(cfg, loaders, 'joints', _joints_of_heads, _joints_of_data)
    classes = _compared(cfg, loaders, 'classes', _classes_of_heads, _classes_of_data)
    return classes + _compared(cfg, loaders, 'stuff classes', _stuff_of_heads, _stuff_of_data)


def _compared(
    cfg: Config,
    loaders: Sequence[str],
    what: str,
    of_heads: Callable[[Config], Iterator[Count]],
    of_data: Callable[[Config, str], Iterator[Count]],
) -> list[Finding]:
    """The findings of :func:`check_agreement` about one kind of things."""
    heads, counts = list(of_heads(cfg)), [data for name in loaders for data in of_data(cfg, name)]
    differing: dict[tuple[str, int], Finding] = {}
    for data in counts:
        for head in heads:
            if data.place != 'train_dataloader' and _picked_joints(cfg) == data.number:
                continue
            wanted = joints_of_line(cfg, head.place, data.number) if what == 'joints' else data.number
            if head.number != wanted:
                differing.setdefault((head.place, wanted), _difference(what, head, data, wanted))
    if differing or not heads or not counts:
        return list(differing.values())
    return [Finding(what, OK, f'{counts[0].number}, in the model as in the {counts[0].place}')]


def _difference(what: str, head: Count, data: Count, wanted: int) -> Finding:
    fewer = head.number < wanted
    shown = f' ({", ".join(map(str, data.names[:6]))}{", …" if len(data.names) > 6 else ""})'
    has = f'the {data.place} has {data.number} {what}{shown if data.names else ""}'
    fitting = '' if wanted == data.number else f', for which it would be {wanted}'
    if head.exact:
        state, result = FAULT, 'their targets do not fit'
    elif fewer:
        state, result = FAULT, 'the others are lost, or end the training'
    else:
        state, result = NOTE, 'what is too much is never shown, nor predicted'
    text = f'{head.place} is {head.number}, and {has}{fitting}: {result}'
    return Finding(what, state, text, (f'{head.place}={wanted}',))


def _picked_joints(cfg: Config) -> int | None:
    """How many of its joints an mmpose model gives in a test, if those are picked."""
    picked = (cfg.model.get('test_cfg') or {}).get('output_keypoint_indices')
    return None if picked is None else len(picked)


# --- what the heads have


def _classes_of_heads(cfg: Config) -> Iterator[Count]:
    """The ``num_classes`` of a model's parts, those that a head has by default included."""
    for path, node in walk({'model': cfg.model, 'data_preprocessor': cfg.get('data_preprocessor')}, ''):
        steps = path.lstrip('.').split('.')
        place, things = '.'.join(steps), node.get('num_things_classes')
        if isinstance(things, int):
            yield Count(f'{place}.num_things_classes', things, exact=bool(node.get('num_stuff_classes')))
            continue
        if set(steps) & set(OTHER_CLASSES) or type_name(node) in OTHER_MEANING:
            continue
        if steps[0] == 'data_preprocessor' and len(steps) > 1:
            continue
        number = node.get('num_classes')
        if number is None and 'num_classes' not in node and any('head' in step for step in steps[-2:]):
            number = _default(cfg, node, 'num_classes')
        if isinstance(number, int) and number > 0 and not node.get('class_agnostic'):
            yield Count(f'{place}.num_classes', number, exact=type_name(node).startswith(SEVERAL_LABELS))


def _stuff_of_heads(cfg: Config) -> Iterator[Count]:
    """The ``num_stuff_classes`` of panoptic models."""
    for path, node in walk(cfg.model, 'model'):
        if isinstance(node.get('num_stuff_classes'), int):
            yield Count(f'{path}.num_stuff_classes', node['num_stuff_classes'])


def _default(cfg: Config, node: Node, argument: str) -> Any:
    """What a part takes for an argument that its config does not give."""
    kind = node.get('type')
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(cfg.default_scope) as registry:
            kind = registry.get(kind)
    return defaults_of(kind).get(argument)


def _joints_of_heads(cfg: Config) -> Iterator[Count]:
    """What mmpose's heads say of their joints."""
    for path, node, name in joint_lines(cfg.model):
        yield Count(f'{path}.{name}', node[name], exact=True)


# --- what the data sets have


def _classes_of_data(cfg: Config, loader: str) -> Iterator[Count]:
    for dataset, meta in _described(cfg, loader):
        names = _names(meta.get('thing_classes') if _boxes_of_things(cfg, meta) else meta.get('classes'))
        names = names or _class_folders(dataset) or _names_in_file(dataset)
        listed = labels_in_list(dataset)
        if names or listed:
            yield Count(loader, max(len(names), listed), names)


def _stuff_of_data(cfg: Config, loader: str) -> Iterator[Count]:
    for _, meta in _described(cfg, loader):
        if names := _names(meta.get('stuff_classes')):
            yield Count(loader, len(names), names)


def _described(cfg: Config, loader: str) -> Iterator[tuple[Node, dict[str, Any]]]:
    """The data sets of a loader, each with what its config says of it and, where that counts, its class."""
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        for dataset in datasets_of((cfg.get(loader) or {}).get('dataset')):
            kind = dataset.get('type')
            kind = registry.get(kind) if isinstance(kind, str) else kind
            given = dict(dataset.get('metainfo') or {})
            if dataset.get('classes') is not None:
                given['classes'] = dataset['classes']
            nameless = labels_in_list(dataset) or type_name(dataset) in MORE_NAMES
            own = {} if nameless else getattr(kind, 'METAINFO', None) or {}
            yield dataset, {**_lower(own), **_lower(given)}


def _lower(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in meta.items()}


def _boxes_of_things(cfg: Config, meta: Mapping[str, Any]) -> bool:
    """Whether a panoptic data set's things are what the heads tell apart; its stuff has a head of its own."""
    return bool(meta.get('thing_classes')) and predicts(cfg.default_scope) == 'boxes'


def _names(given: Any) -> Sequence[str]:
    """The names of classes: a list of them, or a file with one a line."""
    if isinstance(given, str):
        return list_from_file(given) if os.path.isfile(given) else ()
    return list(given) if isinstance(given, list | tuple) else ()


def _names_in_file(dataset: Node) -> Sequence[str]:
    """The classes that an annotation file of mmengine's format names itself."""
    path = os.path.join(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    if not path.endswith('.json') or not os.path.isfile(path):
        return ()
    content = read_annotations(path)
    meta = content.get('metainfo') if isinstance(content, dict) else None
    return _names(_lower(meta).get('classes')) if isinstance(meta, dict) else ()


def _class_folders(dataset: Node) -> Sequence[str]:
    """The folders that mmpretrain's ``CustomDataset`` takes for classes."""
    prefix = dataset.get('data_prefix') or ''
    if type_name(dataset) != 'CustomDataset' or dataset.get('ann_file') or not isinstance(prefix, str):
        return ()
    folder = Path(dataset.get('data_root') or '', prefix)
    if not (dataset.get('data_root') or prefix) or not folder.is_dir():
        return ()
    return sorted(part.name for part in folder.iterdir() if part.is_dir() and part.name[0] != '.')


def _joints_of_data(cfg: Config, loader: str) -> Iterator[Count]:
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    outer = (cfg.get(loader) or {}).get('dataset') or {}
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        for dataset in [outer] if outer.get('metainfo') else datasets_of(outer):
            kind = dataset.get('type')
            kind = registry.get(kind) if isinstance(kind, str) else kind
            meta = dict(dataset.get('metainfo') or getattr(kind, 'METAINFO', None) or {})
            if not meta.get('from_file') and 'keypoint_info' not in meta:
                continue
            yield Count(loader, len(parse_pose_metainfo(meta)['keypoint_id2name']))
