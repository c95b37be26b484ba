"""Gates: modules that weigh the channels of a residual."""

from .base import Gate, recalibrated_add
from .inner_image import InnerImage
from .inner_imaging import DoubleFC, GroupingFilter, InnerImaging, cmpe_se
from .plugins import InnerImagingPlugin, SEPlugin
from .spec import AFTER_3X3, GATES, IDENTITY, POST, PRE, STANDARD, Attention, batch_norm_like, with_fold
from .squeeze_excitation import SE, OtherSqueezeSE, squeeze_excitation

__all__ = [
    'AFTER_3X3',
    'GATES',
    'IDENTITY',
    'POST',
    'PRE',
    'SE',
    'STANDARD',
    'Attention',
    'DoubleFC',
    'Gate',
    'GroupingFilter',
    'InnerImage',
    'InnerImaging',
    'InnerImagingPlugin',
    'OtherSqueezeSE',
    'SEPlugin',
    'batch_norm_like',
    'cmpe_se',
    'recalibrated_add',
    'squeeze_excitation',
    'with_fold',
]
