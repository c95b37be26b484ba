"""Change the size and the mirroring in the pipelines of a config, whichever transforms do it there."""

from collections.abc import Iterable
from typing import Any

from inimg_mm.config_tree import Node, nodes, type_name
from inimg_mm.errors import UsageError

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
        UsageError: If the training or the test images would keep their size.
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
            raise UsageError(
                f'the {name} pipeline has none of {", ".join(settings)}, which image_scale={size!r} could set'
            )


def load_from_files(pipeline: list[Node]) -> bool:
    """Have a pipeline begin with reading the image, where its data set had the pixels themselves.

    Returns:
        Whether it did not read images before; then they were RGB, and what is read is BGR.
    """
    if any(type_name(transform).startswith('LoadImage') for transform in pipeline):
        return False
    pipeline.insert(0, dict(type='LoadImageFromFile'))
    return True


def set_flip(train: Iterable[Node], probability: float) -> None:
    """Have the training transforms mirror with a probability.

    Raises:
        UsageError: If none of them mirrors.
    """
    flips = [transform for transform in train if type_name(transform) == 'RandomFlip']
    if not flips:
        raise UsageError(
            f'the training pipeline has no RandomFlip whose prob could be set to {probability!r}'
        )
    for transform in flips:
        transform['prob'] = probability


def flips(train: Iterable[Node]) -> bool:
    """Whether any of the training transforms mirrors."""
    return any(type_name(t) == 'RandomFlip' and t.get('prob', 0.5) != 0 for t in train)


def set_crop(
    train: Iterable[Node], preprocessors: Iterable[Any], size: Size | None, scale: Size | None
) -> Size | None:
    """Set the size of a segmenter's random crops, and of what they are padded to.

    Args:
        train: Transforms of the training pipelines.
        preprocessors: The settings of the model's data preprocessor, wherever they stand.
        size: Width and height of the crops. Default: the config's, and no larger than ``scale``.
        scale: Width and height that images are resized to; None where the config's stays.

    Returns:
        Width and height of the crops; None if the config has none.

    Raises:
        UsageError: If there are no crops whose size could be set.
    """
    transforms = list(train)
    crops = [transform for transform in transforms if type_name(transform) == 'RandomCrop']
    if not crops:
        if size is not None:
            raise UsageError(f'the training pipeline has no RandomCrop whose size could be set to {size!r}')
        return None
    now = crops[0]['crop_size']
    height, width = (now, now) if isinstance(now, int) else now
    if size is not None:
        width, height = size
    elif scale is not None:
        width, height = min(width, scale[0]), min(height, scale[1])
    for crop in crops:
        crop['crop_size'] = (height, width)
    for pad in transforms:
        if type_name(pad) == 'Pad' and pad.get('size') is not None:
            pad['size'] = (width, height)
    for settings in preprocessors:
        if settings and settings.get('size') is not None:
            settings['size'] = (height, width)
    return width, height


def padding_share(train: Iterable[Node], image: Size) -> float:
    """Which share of a training crop lies outside its image, on average over the scales it is resized to.

    Args:
        train: Transforms of the training pipeline, of mmseg.
        image: Width and height of an image.
    """
    sizes: list[tuple[float, float]] = [image]
    for transform in train:
        kind = type_name(transform)
        if kind in ('Resize', 'RandomResize') and isinstance(transform.get('scale'), list | tuple):
            most = transform['scale']
            least, largest = transform.get('ratio_range') or (1, 1)
            sizes = []
            for step in range(9):
                scale = [side * (least + (largest - least) * step / 8) for side in most]
                if transform.get('keep_ratio'):
                    factor = min(max(scale) / max(image), min(scale) / min(image))
                    sizes.append((image[0] * factor, image[1] * factor))
                else:
                    sizes.append((scale[0], scale[1]))
        elif kind == 'RandomCrop':
            now = transform['crop_size']
            height, width = (now, now) if isinstance(now, int) else now
            inside = [min(w, width) * min(h, height) / (width * height) for w, h in sizes]
            return 1 - sum(inside) / len(inside)
    return 0.0


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
