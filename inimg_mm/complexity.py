"""Parameters and operations of a backbone."""

from typing import NamedTuple

import torch
from mmcv.cnn import is_norm
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from inimg_mm import zoo


class Complexity(NamedTuple):
    """What a net needs.

    Attributes:
        params: Parameters.
        macs: Multiply-adds of the convolutions and fully connected layers.
        norms: Operations of the norms in eval mode, a product and a sum per value. Some papers
            count them with the multiply-adds: SCNet's, and what was measured with thop.
    """

    params: int
    macs: int
    norms: int


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
    norms = 0

    def count_norm(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        nonlocal norms
        norms += 2 * output.numel()

    with FakeTensorMode():
        backbone = zoo.build(name, **overrides).eval()
        for module in filter(is_norm, backbone.modules()):
            module.register_forward_hook(count_norm)
        head = nn.Linear(backbone.out_channels[-1], num_classes) if num_classes else nn.Identity()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            features = backbone(torch.empty(1, 3, image_size, image_size))[-1]
            head(features.mean((2, 3)))
    params = sum(p.numel() for module in (backbone, head) for p in module.parameters())
    return Complexity(params, counter.get_total_flops() // 2, norms)
