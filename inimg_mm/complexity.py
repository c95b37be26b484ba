"""Parameters and multiply-adds of a backbone."""

from typing import NamedTuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from inimg_mm import zoo


class Complexity(NamedTuple):
    """Parameters, and multiply-adds of the convolutions and fully connected layers."""

    params: int
    macs: int


def measure(name: str, image_size: int = 224, num_classes: int = 1000, **overrides: object) -> Complexity:
    """Count what a zoo model needs as a classifier: backbone, mean pool, one fully connected layer.

    Nothing is computed: shapes alone run through the net.

    Args:
        name: A key of :data:`inimg_mm.zoo.MODELS`.
        image_size: Height and width of the image in pixels.
        num_classes: Width of the classifier; 0 counts the backbone alone.
        **overrides: Arguments of the backbone.

    Raises:
        ValueError: If the name is unknown or an argument cannot be honoured.
    """
    with FakeTensorMode():
        backbone = zoo.build(name, **overrides).eval()
        head = nn.Linear(backbone.out_channels[-1], num_classes) if num_classes else nn.Identity()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            features = backbone(torch.empty(1, 3, image_size, image_size))[-1]
            head(features.mean((2, 3)))
    params = sum(p.numel() for module in (backbone, head) for p in module.parameters())
    return Complexity(params, counter.get_total_flops() // 2)
