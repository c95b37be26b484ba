"""What the data set that a model was trained on says of itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from inimg_mm.config_tree import datasets_of, nodes
from inimg_mm.drawing import colours
from inimg_mm.errors import UsageError

Meta = dict[str, Any]


LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')


def dataset_meta(cfg: Config, stored: Mapping[str, Any]) -> Meta:
    """What the data set that a model was trained on says of itself.

    The checkpoint knows best; then the config's data sets, by their ``metainfo`` or their type. A list of
    classes of another length than the model's is not believed: data sets that are given no names have
    those of COCO. What nobody names is called by its number.

    Args:
        cfg: Config of the model.
        stored: What its checkpoint has beside the weights (``meta``).
    """
    claims = [stored.get('dataset_meta'), {'classes': stored.get('CLASSES')}, *_configured(cfg)]
    metas = [{str(key).lower(): value for key, value in claim.items()} for claim in claims if claim]
    return _keypoint_meta(metas) if cfg.default_scope == 'mmpose' else _class_meta(metas, _num_classes(cfg))


def _configured(cfg: Config) -> Iterator[Meta]:
    """What the config's data sets are given, then what their types bring."""
    datasets = [
        dataset for loader in LOADERS for dataset in datasets_of((cfg.get(loader) or {}).get('dataset'))
    ]
    yield from (dict(dataset['metainfo']) for dataset in datasets if dataset.get('metainfo'))
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        for dataset in datasets:
            kind = dataset.get('type')
            kind = registry.get(kind) if isinstance(kind, str) else kind
            yield dict(getattr(kind, 'METAINFO', {}))


def _num_classes(cfg: Config) -> int | None:
    """How many classes the heads tell apart: the most of any."""
    counts = (node.get('num_classes') for node in nodes(cfg.model))
    return max((count for count in counts if isinstance(count, int)), default=None)


def _class_meta(metas: list[Meta], count: int | None) -> Meta:
    for meta in metas:
        classes = meta.get('classes')
        if classes and count in (None, len(classes)):
            names = tuple(map(str, classes))
            break
    else:
        meta, names = {}, tuple(f'class {index}' for index in range(count or 0))
    palette = meta.get('palette')
    if not isinstance(palette, list | tuple) or len(palette) < len(names):
        palette = colours(len(names))
    return dict(classes=names, palette=[tuple(map(int, colour)) for colour in palette[: len(names)]])


def _keypoint_meta(metas: list[Meta]) -> Meta:
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    for meta in metas:
        if 'keypoint_id2name' in meta:  # parsed already
            return meta
        if 'keypoint_info' in meta or 'from_file' in meta:
            return dict(parse_pose_metainfo(meta))
    raise UsageError('neither the checkpoint nor the config describes the keypoints (metainfo of a data set)')
