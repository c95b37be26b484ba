"""The registered names of the data sets; building one imports its host."""

from typing import Any

from inimg_mm.data_files.svhn_files import DIGITS
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


@DATASETS.register_module('SVHN')
def svhn(**options: Any) -> Any:
    """SVHN's cropped digits for mmpretrain; see :mod:`.svhn`.

    Args:
        **options: ``data_root``, ``split``, and those of mmpretrain's ``BaseDataset``.

    Raises:
        ImportError: If mmpretrain is not installed.
        UsageError: If an option, or a file, is not as it must be; the message names it.
    """
    try:
        import mmpretrain.datasets  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"inimg_mm.SVHN is a data set for mmpretrain (pip install 'inimg-mm[mm]'): {error}"
        ) from error
    from .svhn import SVHN

    return SVHN(**options)


svhn.METAINFO = dict(classes=DIGITS)  # read without building it
