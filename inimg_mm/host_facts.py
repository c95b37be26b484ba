"""What each host calls things, for every floor; what is done differently for one is in ``hosts/``."""

from typing import NamedTuple


class Facts(NamedTuple):
    """Facts of a host.

    Attributes:
        extra: The extra of this package that installs it.
        task: What its models do, in the words of the metafiles.
        heights_first: Whether its transforms name a height before a width.
        returns_last_map: Whether its own ResNet returns the last stage's map alone unless asked for others.
    """

    extra: str
    task: str
    heights_first: bool = False
    returns_last_map: bool = False


HOSTS = {
    'mmdet': Facts('mm', 'Object Detection'),
    'mmpretrain': Facts('mm', 'Image Classification', heights_first=True, returns_last_map=True),
    'mmpose': Facts('pose', 'Body 2D Keypoint', returns_last_map=True),
    'mmseg': Facts('seg', 'Semantic Segmentation'),
}
"""By the scope that a config calls its host by (``default_scope``)."""
