"""What a gate makes of its means, in a few launches where it is of a kind that has kernels."""

from typing import Any

import torch
from torch import Tensor

from inimg_mm.models.attention import Gate

from .excitation import excite, layers_of
from .imaging import excite_image, picture_of


def has_kernels(gate: Gate) -> bool:
    """Whether :func:`weigh` launches kernels for a gate in the mode in which it is."""
    weight: Any = gate.last_layer.weight
    return layers_of(gate) is not None or picture_of(gate, weight.new_empty(2, len(weight))) is not None


def weigh(gate: Gate, means: list[Tensor]) -> Tensor:
    """The gate, (N, C) in float32, from one or two float32 means, each (N, C)."""
    layers = layers_of(gate)
    if layers is not None:
        return excite(means, layers)
    picture = picture_of(gate, means[0])
    if picture is not None:
        return excite_image(means, gate, picture)
    return gate.weigh([mean.to(gate.dtype)[..., None, None] for mean in means], torch.float32).flatten(1)
