"""Whether a keypoint model's heatmaps are of the size that its codec makes."""

import torch
from torch import Tensor

from inimg_mm.config_tree import walk
from inimg_mm.hosts.made_up import image_channels

from .findings import FAULT, Finding
from .outline import Outline

STRIDE = 32
"""Of the last map of most nets: an image of other sides is rounded up to a multiple of it."""


def check_heatmaps(outline: Outline) -> list[Finding]:
    """A fault if the head gives heatmaps of another size than those that the model is to learn.

    What does not run on tensors without values is left out.
    """
    cfg = outline.cfg
    codec = (cfg.model.get('head') or {}).get('decoder')
    if not isinstance(codec, dict) or not {'input_size', 'heatmap_size'} <= set(codec):
        return []
    width, height = codec['input_size']
    try:
        with outline.at_work():
            model = outline.model.eval()
            maps = model.head(model.extract_feat(torch.empty(1, image_channels(cfg.model), height, width)))
    except Exception:  # which the training itself will say
        return []
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        return []
    given, wanted = (maps.shape[3], maps.shape[2]), tuple(codec['heatmap_size'])
    if given == wanted:
        return []
    text = (
        f'model.head gives heatmaps of {given[0]}x{given[1]} for images of {width}x{height}, '
        f'and its codec makes them of {wanted[0]}x{wanted[1]}'
    )
    if width % STRIDE or height % STRIDE:
        sides = 'x'.join(str(-(-side // STRIDE) * STRIDE) for side in (width, height))
        text += f' (sides that are multiples of {STRIDE} fit: {sides})'
    parts = [part for key in ('model', 'train_dataloader') for part in walk(cfg.get(key), key)]
    places = [path for path, part in parts if 'heatmap_size' in part]
    remedy = ' '.join(f'{path}.heatmap_size=({given[0]},{given[1]})' for path in places)
    return [Finding('heatmaps', FAULT, text, (remedy,))]
