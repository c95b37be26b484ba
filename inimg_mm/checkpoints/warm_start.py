"""From a plain net's weights to a gated net that computes the same."""

import torch
from torch import nn

from inimg_mm.errors import CheckpointError
from inimg_mm.models.backbones import Backbone
from inimg_mm.models.backbones.blocks import ResidualBlock
from inimg_mm.models.backbones.inception_blocks import MixedBlock


def why_impossible(backbone: Backbone) -> str | None:
    """Why a net of this kind has no warm start, whatever its settings; None where it has."""
    if any(isinstance(module, MixedBlock) for module in backbone.modules()):
        return (
            f'there is no warm start for {type(backbone).__name__}: its gates would halve what comes out of '
            'max pools, where no layer could be doubled for it'
        )
    return None


def gated_blocks(backbone: Backbone) -> list[ResidualBlock]:
    """The blocks that a warm start changes.

    Raises:
        CheckpointError: If there are none, one is in a frozen stage, where its gate could never
            learn or where no layer could make up for it, the layer that ends one's residual branch has no
            weight to double, or nets of this kind have no warm start.
    """
    if reason := why_impossible(backbone):
        raise CheckpointError(f'{reason}: leave warm_start out')
    blocks = [m for m in backbone.modules() if isinstance(m, ResidualBlock) and m.gate_name is not None]
    if not blocks:
        raise CheckpointError('warm_start=True is for nets with gates, and this one has none: leave it out')
    frozen = [index for index, name in enumerate(backbone.stage_names[: max(backbone.frozen_stages, 0)])
              if any(block in blocks for block in getattr(backbone, name).modules())]  # fmt: skip
    if frozen:
        flags = tuple(index not in frozen for index in range(backbone.num_stages))
        raise CheckpointError(
            f'the gates of frozen stages (frozen_stages={backbone.frozen_stages}) could never learn: write '
            f'attention=dict(…, stages={flags}), or frozen_stages={min(frozen)} or less',
            remedy=f'attention.stages={flags}'.replace(' ', ''),
        )
    for block in blocks:
        gate = block.gate_module
        if gate is None:
            raise CheckpointError(
                f'warm_start=True is exact for gates on the residual alone, and these stand in '
                f"position={block.gate_position!r}: leave warm_start out, or take position='standard'"
            )
        if not gate.is_sigmoid:
            raise CheckpointError(
                'warm_start=True is exact for gates that end in a sigmoid alone, and these do not: '
                "leave warm_start out, or take excitation='sigmoid'"
            )
        if not isinstance(getattr(block.last_affine, 'weight', None), nn.Parameter):
            name = type(block.last_affine).__name__
            raise CheckpointError(f'{name} ends a residual branch and has no weight to double')
    return blocks


@torch.no_grad()
def neutralise(block: ResidualBlock) -> None:
    """Make a gated block compute what it did without its gate.

    The gate's last layer becomes zero, so that every weight is sigmoid(0) = 1/2, and the layer
    that ends the residual branch is doubled. Both are exact in floating point.
    """
    gate = block.gate_module
    assert gate is not None
    for parameter in gate.last_layer.parameters():
        parameter.zero_()
    for parameter in block.last_affine.parameters():
        parameter.mul_(2)
