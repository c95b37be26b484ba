"""Stems: what comes before the first stage."""

from typing import Any

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import Sequential
from torch import nn

from inimg_mm.errors import UsageError


def stem_conv(
    in_channels: int, channels: int, deep: bool, conv_cfg: dict[str, Any] | None, norm_cfg: dict[str, Any]
) -> nn.Module:
    """The stem's convolution, without its last norm.

    Args:
        in_channels: Channels of the image.
        channels: Channels of the stem's output; a deep stem's inner layers have half of it.
        deep: Three 3x3 convolutions (``conv1.0`` to ``conv1.6``, the names of timm and of the
            authors' SCNet) instead of one 7x7.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms between them.

    Returns:
        A module that maps (N, in_channels, H, W) to (N, channels, H / 2, W / 2).
    """
    if not deep:
        return build_conv_layer(conv_cfg, in_channels, channels, 7, stride=2, padding=3, bias=False)
    inner = channels // 2
    if inner < 1:
        raise UsageError(f'a deep stem needs stem_channels of at least 2, got {channels}')
    layers: list[nn.Module] = []
    for width_in, width_out, stride in ((in_channels, inner, 2), (inner, inner, 1), (inner, channels, 1)):
        if layers:
            layers += [build_norm_layer(norm_cfg, width_in)[1], nn.ReLU(inplace=True)]
        layers.append(
            build_conv_layer(conv_cfg, width_in, width_out, 3, stride=stride, padding=1, bias=False)
        )
    return Sequential(*layers)
