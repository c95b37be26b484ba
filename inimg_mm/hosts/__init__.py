"""What is done differently for each host: one file a host, one table of them."""

from . import mmdet, mmpose, mmpretrain, mmseg
from .host import Host, Size

__all__ = ['HOSTS', 'Host', 'Size']

HOSTS: dict[str, Host] = {
    'mmdet': mmdet.HOST,
    'mmpretrain': mmpretrain.HOST,
    'mmpose': mmpose.HOST,
    'mmseg': mmseg.HOST,
}
"""By the scope that a config calls its host by."""
