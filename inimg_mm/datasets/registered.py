"""The registered names of the data sets; building one imports its host."""

from typing import Any

from inimg_mm.registry import DATASETS


@DATASETS.register_module('ClassFolders')
def class_folders(**options: Any) -> Any:
    """mmpretrain's ``CustomDataset`` without hidden folders and files; see :mod:`.class_folders`.

    Args:
        **options: Of ``CustomDataset``.
    """
    from .class_folders import ClassFolders

    return ClassFolders(**options)


@DATASETS.register_module('LabelMaps')
def label_maps(**options: Any) -> Any:
    """mmseg's ``BaseSegDataset`` for images of several suffixes; see :mod:`.label_maps`.

    Args:
        **options: Of ``BaseSegDataset``.
    """
    from .label_maps import LabelMaps

    return LabelMaps(**options)
