"""Parameters and operations of a backbone."""

from collections.abc import Callable
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


def measure(
    name: str, image_size: int | None = None, num_classes: int | None = None, **overrides: object
) -> Complexity:
    """Count what a zoo model needs as a classifier: backbone, mean pool, one fully connected layer.

    Nothing is computed: shapes alone run through the net.

    Args:
        name: A key of :data:`inimg_mm.zoo.MODELS`.
        image_size: Height and width of the image in pixels; None: the zoo's.
        num_classes: Width of the classifier; 0 counts the backbone alone. None: the zoo's.
        **overrides: Arguments of the backbone.

    Raises:
        UsageError: If the name is unknown or an argument cannot be honoured.
    """
    model = zoo.get(name)
    size = model.image_size if image_size is None else image_size
    classes = model.classes if num_classes is None else num_classes
    with FakeTensorMode():
        backbone = zoo.build(name, **overrides).eval()
        head = nn.Linear(backbone.out_channels[-1], classes) if classes else nn.Identity()
        image = torch.empty(1, 3, size, size)
        return count(nn.ModuleList([backbone, head]), lambda: head(backbone(image)[-1].mean((2, 3))))


def count(net: nn.Module, run: Callable[[], object]) -> Complexity:
    """Count what ``run`` does with the parts of ``net``, and the parameters of all of it."""
    norms = 0

    def count_norm(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        nonlocal norms
        norms += 2 * output.numel()

    handles = [module.register_forward_hook(count_norm) for module in net.modules() if is_norm(module)]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            run()
    finally:
        for handle in handles:
            handle.remove()
    return Complexity(sum(p.numel() for p in net.parameters()), counter.get_total_flops() // 2, norms)
