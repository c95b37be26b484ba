"""Which form each block of a model, and its stem, takes on a GPU, fused or plain, and why."""

from collections.abc import Iterator

import torch
from torch import nn

from inimg_mm.models import fused
from inimg_mm.models.attention import Gate
from inimg_mm.models.backbones import ResNet
from inimg_mm.models.backbones.blocks import FUSED_POSITIONS, ResidualBlock
from inimg_mm.models.fused import Fused


def machine_form() -> str:
    """What this machine does with ``fused='auto'``, in a sentence; the first use of a GPU is tried."""
    reason: str | None = 'there is no CUDA device'
    if torch.cuda.is_available():
        reason = fused.why_not('auto', torch.empty(1, 8, 4, 4, device='cuda'))
    return 'fused operations are on' if reason is None else f'every block is computed plainly: {reason}'


def block_forms(model: nn.Module, switch: Fused | None = None) -> Iterator[tuple[str, str]]:
    """Name and form of each stem that pools and each residual block, as a GPU would take them in this mode.

    Args:
        model: The model.
        switch: ``fused``, in the place of the blocks' own.
    """
    for name, block in model.named_modules():
        if isinstance(block, ResNet) and hasattr(block, 'maxpool'):
            yield f'{name}.stem'.lstrip('.'), _stem(block, block.fused if switch is None else switch)
        if isinstance(block, ResidualBlock):
            reason = _obstacle(block, block.fused if switch is None else switch)
            yield name, _parts(block) if reason is None else f'plain end: {reason}'


def _stem(net: ResNet, switch: Fused) -> str:
    if switch is False:
        return 'plain stem: fused=False'
    norm = getattr(net, net.norm1_name)
    reason = fused.stem_obstacle(norm, net.relu, net.maxpool, switch)
    return f'fused stem: {_norm(norm)}, ReLU, max pool' if reason is None else f'plain stem: {reason}'


def _norm(norm: nn.Module) -> str:
    return 'norm' if norm.training else 'norm with running statistics'


def _obstacle(block: ResidualBlock, switch: Fused) -> str | None:
    if switch is False:
        return 'fused=False'
    if not (block.rectified and block.ends_in_norm):
        return 'it does not end in a norm, a sum and a ReLU; its norms are fused with their ReLUs'
    if block.gate_position not in FUSED_POSITIONS:
        return f'its gate stands at {block.gate_position!r}'
    return fused.obstacle(block.last_affine, block.gate_module, block.drop_path, block.relu, switch)


def _parts(block: ResidualBlock) -> str:
    gate = block.gate_module
    parts = [_norm(block.last_affine)]
    parts += [] if gate is None else [_gate(gate)]
    parts += [] if isinstance(block.drop_path, nn.Identity) else ['drop path']
    parts += ['sum with a projection' if block.downsample is not None else 'sum', 'ReLU']
    again = '; what its convolutions read is made again' if block.recompute else ''
    return f'fused end: {", ".join(parts)}{again}'


def _gate(gate: Gate) -> str:
    name = type(gate).__name__
    return name if fused.has_kernels(gate) else f'{name} (its own arithmetic plain)'
