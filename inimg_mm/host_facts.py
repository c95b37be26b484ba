"""What each host calls things, for every floor; what is done differently for one is in ``hosts/``."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from inimg_mm.config_tree import Node, nodes, type_name, walk


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


JOINTS = ('out_channels', 'num_keypoints', 'num_joints')
"""How mmpose's heads call the number of their joints."""
COORDINATES = ('MotionRegressionHead',)
"""Those whose ``out_channels`` counts the coordinates of each joint."""


def joint_lines(model: Node) -> Iterator[tuple[str, Node, str]]:
    """Where mmpose's heads say how many joints they have: place and settings of each, and the argument.

    A head inside another counts, its codec does not.
    """
    for path, node in walk(model.get('head') or {}, 'model.head'):
        last = path.split('.')[-1]
        if last in ('head', 'pose_cfg', 'keypoint_head_cfg') or last.isdigit():
            names = [name for name in JOINTS if isinstance(node.get(name), int)]
            if names and type_name(node) not in COORDINATES:
                yield path, node, names[0]


def joints_of_line(cfg: Any, line: str, joints: int) -> int:
    """What a line of :func:`joint_lines` has to be: the number of joints, but for mmpose's special codecs."""
    head = cfg['model'].get('head') or {}
    if line.endswith('keypoint_head_cfg.out_channels'):  # one hand of two, in depth
        return joints // 2 * head['keypoint_head_cfg'].get('depth_size', 64)
    for codec in nodes([head, cfg.get('codec')]):
        if codec.get('heatmap_type') == 'combined' and line.endswith('out_channels'):
            return 3 * joints  # a heat map and two offsets each
        if codec.get('remove_root') and line.endswith('num_joints'):
            return joints - 1
    return joints
