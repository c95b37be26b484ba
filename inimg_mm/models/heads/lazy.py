"""The registered names of the heads; building one imports its host."""

from importlib import import_module
from typing import Any

from torch import nn

from inimg_mm.host_facts import HOSTS
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
    _import_host('mmseg', 'FCNSkipHead')
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
    _import_host('mmpretrain', 'InceptionHead')
    from .inception import InceptionHead

    return InceptionHead(**options)


def _import_host(host: str, head: str) -> None:
    """Import the host of a head, whose classes its module needs; say what installs it where it is missing."""
    try:
        import_module(f'{host}.models')
    except ImportError as error:
        raise ImportError(
            f"inimg_mm.{head} is a head of {host} (pip install 'inimg-mm[{HOSTS[host].extra}]'): {error}"
        ) from error
