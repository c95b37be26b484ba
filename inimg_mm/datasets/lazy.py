"""The registered names of data sets; building one imports its host."""

from typing import Any

from inimg_mm.data_files.svhn_files import DIGITS
from inimg_mm.registry import DATASETS


@DATASETS.register_module('SVHN')
def svhn(**options: Any) -> Any:
    """The data set of ``dataset=dict(type='inimg_mm.SVHN', …)`` in a config of mmpretrain.

    Args:
        **options: See :class:`inimg_mm.datasets.svhn.SVHN`.

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
