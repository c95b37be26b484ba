"""Gates: modules that weigh the channels of a residual."""

from .base import Gate, recalibrated_add
from .inner_image import InnerImage
from .inner_imaging import DoubleFC, GroupingFilter, InnerImaging, cmpe_se
from .plugins import InnerImagingPlugin, SEPlugin
from .spec import GATES, Attention
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
    'cmpe_se',
    'recalibrated_add',
]
