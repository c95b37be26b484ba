"""The registered names of the heads; building one imports its host."""

from typing import Any

from torch import nn

from inimg_mm.registry import MODELS


@MODELS.register_module('FCNSkipHead')
def fcn_skip_head(**options: Any) -> nn.Module:
    """The head of ``decode_head=dict(type='inimg_mm.FCNSkipHead')`` in a model of mmseg.

    Args:
        **options: See :class:`inimg_mm.models.heads.fcn_skip.FCNSkipHead`.

    Raises:
        ImportError: If mmseg is not installed.
        UsageError: If an option is out of its range or cannot be honoured; the message names the choices.
    """
    try:
        import mmseg.models  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"inimg_mm.FCNSkipHead is a head of mmseg (pip install 'inimg-mm[seg]'): {error}"
        ) from error
    from .fcn_skip import FCNSkipHead

    return FCNSkipHead(**options)


@MODELS.register_module('InceptionHead')
def inception_head(**options: Any) -> nn.Module:
    """The head of ``head=dict(type='inimg_mm.InceptionHead')`` in a classifier of mmpretrain.

    Args:
        **options: See :class:`inimg_mm.models.heads.inception.InceptionHead`.

    Raises:
        ImportError: If mmpretrain is not installed.
        UsageError: If an option is out of its range; the message names the choices.
    """
    try:
        import mmpretrain.models  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"inimg_mm.InceptionHead is a head of mmpretrain (pip install 'inimg-mm[mm]'): {error}"
        ) from error
    from .inception import InceptionHead

    return InceptionHead(**options)
