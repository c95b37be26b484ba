"""Gates: modules that weigh the channels of a residual."""

from .base import Gate, recalibrated_add
from .inner_image import InnerImage
from .inner_imaging import DoubleFC, GroupingFilter, InnerImaging, cmpe_se
from .plugins import InnerImagingPlugin, SEPlugin
from .spec import GATES, Attention, batch_norm_like, with_fold
from .squeeze_excitation import SE

__all__ = [
    'GATES',
    'SE',
    'Attention',
    'DoubleFC',
    'Gate',
    'GroupingFilter',
    'InnerImage',
    'InnerImaging',
    'InnerImagingPlugin',
    'SEPlugin',
    'batch_norm_like',
    'cmpe_se',
    'recalibrated_add',
    'with_fold',
]
