"""Change the size and the mirroring in the pipelines of a config, whichever transforms do it there."""

from collections.abc import Iterable
from typing import Any

from inimg_mm.config_tree import Node, nodes, type_name

Size = tuple[int, int]


def set_scale(train: Iterable[Node], test: Iterable[Node], size: Size, heights_first: bool) -> None:
    """Have the training and test transforms make images of a size.

    A crop after a resized edge keeps the share of the image that it has: 224 of 256, say.

    Args:
        train: Transforms of the training pipelines.
        test: Transforms of the others.
        size: Width and height.
        heights_first: Whether random crops are given their height first, as in mmpretrain.

    Raises:
        ValueError: If the training or the test images would keep their size.
    """
    width, height = size
    random_crop = (height, width) if heights_first else (width, height)
    settings: dict[str, dict[str, Any]] = {
        'Resize': dict(scale=(width, height)),
        'RandomResize': dict(scale=(width, height)),
        'RandomChoiceResize': dict(scales=[(width, height)]),
        'RandomResizedCrop': dict(scale=random_crop),
        'CenterCrop': dict(crop_size=(width, height)),
    }
    for name, transforms in (('training', list(train)), ('test', list(test))):
        share = _share_of_the_crop(transforms)
        found = False
        for transform in transforms:
            kind = type_name(transform)
            if kind == 'ResizeEdge':
                transform.update(scale=round(max(size) / share), edge='short')
            transform.update(settings.get(kind, {}))
            found |= kind in settings
        if not found:
            raise ValueError(
                f'the {name} pipeline has none of {", ".join(settings)}, which image_scale={size!r} could set'
            )


def set_flip(train: Iterable[Node], probability: float) -> None:
    """Have the training transforms mirror with a probability.

    Raises:
        ValueError: If none of them mirrors.
    """
    flips = [transform for transform in train if type_name(transform) == 'RandomFlip']
    if not flips:
        raise ValueError(
            f'the training pipeline has no RandomFlip whose prob could be set to {probability!r}'
        )
    for transform in flips:
        transform['prob'] = probability


def set_input_size(settings: Iterable[Any], size: Size) -> None:
    """Set the crop of a top-down keypoint config, and its heatmaps at a quarter of it."""
    for node in nodes(list(settings)):
        if 'input_size' in node:
            node['input_size'] = tuple(size)
        if 'heatmap_size' in node:
            node['heatmap_size'] = (size[0] // 4, size[1] // 4)


def _share_of_the_crop(transforms: list[Node]) -> float:
    """Which share of a resized edge the centre crop keeps; 1 without such a pair."""
    edge = next((t['scale'] for t in transforms if type_name(t) == 'ResizeEdge'), None)
    crop = next((t['crop_size'] for t in transforms if type_name(t) == 'CenterCrop'), None)
    if edge is None or crop is None:
        return 1.0
    return (crop if isinstance(crop, int) else max(crop)) / edge
