"""What each host calls things, for every floor; what is done differently for one is in ``hosts/``."""

from typing import NamedTuple


class Facts(NamedTuple):
    """Facts of a host.

    Attributes:
        extra: The extra of this package that installs it.
        task: What its models do, in the words of the metafiles.
        predicts: What they predict: 'boxes', 'classes', 'keypoints' or 'label maps'.
        heights_first: Whether its transforms name a height before a width.
        returns_last_map: Whether its own ResNet returns the last stage's map alone unless asked for others.
    """

    extra: str
    task: str
    predicts: str
    heights_first: bool = False
    returns_last_map: bool = False


HOSTS = {
    'mmdet': Facts('mm', 'Object Detection', 'boxes'),
    'mmpretrain': Facts('mm', 'Image Classification', 'classes', heights_first=True, returns_last_map=True),
    'mmpose': Facts('pose', 'Body 2D Keypoint', 'keypoints', returns_last_map=True),
    'mmseg': Facts('seg', 'Semantic Segmentation', 'label maps'),
}
"""By the scope that a config calls its host by (``default_scope``)."""


def predicts(scope: str | None) -> str:
    """What the models of a host predict, as :attr:`Facts.predicts`; empty for a scope that is no host's."""
    return HOSTS[scope].predicts if scope in HOSTS else ''
