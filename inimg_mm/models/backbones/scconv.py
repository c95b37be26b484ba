"""Self-calibrated convolutions (Liu et al., CVPR 2020)."""

from collections.abc import Callable
from typing import Any

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn
from torch.nn import functional as F

from inimg_mm.registry import MODELS

POOLS: dict[str, Callable[..., Tensor]] = {'avg': F.avg_pool2d, 'max': F.max_pool2d}


class ClampedPool(nn.Module):
    """Pooling with window and step r, or the map's size in a direction in which it is smaller.

    Args:
        r: Window and step.
        pooling: 'avg' or 'max'.

    Raises:
        ValueError: If ``pooling`` is unknown or ``r`` is not a positive integer.
    """

    def __init__(self, r: int, pooling: str) -> None:
        super().__init__()
        if pooling not in POOLS:
            raise ValueError(f'unknown pooling {pooling!r}; choose from {list(POOLS)}')
        if not isinstance(r, int) or r < 1:
            raise ValueError(f'pooling_r must be an integer of at least 1, got {r!r}')
        self.r = r
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, max(H // r, 1), max(W // r, 1))."""
        window = [min(self.r, size) for size in x.shape[2:]]
        return POOLS[self.pooling](x, window, window)

    def extra_repr(self) -> str:
        """Window and kind."""
        return f'r={self.r}, pooling={self.pooling}'


class SCConv(BaseModule):
    """The calibrated half of a self-calibrated convolution (eq. 2 to 4).

    ``k4(k3(y) * sigmoid(y + up(k2(pool_r(y)))))``; k2, k3 and k4 are 3x3 convolutions, each with
    its norm, and ``up`` is nearest upsampling to y's size.

    Args:
        in_channels: Channels of y.
        out_channels: Channels of the output.
        stride: Stride of k4; k2 and k3 have 1.
        dilation: Dilation of k2, k3 and k4.
        groups: Groups of k2, k3 and k4.
        pooling_r: Window and step of the pooling, clamped to smaller maps.
        pooling: 'avg' or 'max' (the paper's ablation, table 3).
        identity: Whether the calibration has the identity term y (the paper's ablation).
        last_norm: Whether k4 has a norm.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        pooling_r: int = 4,
        pooling: str = 'avg',
        identity: bool = True,
        last_norm: bool = True,
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')

        def conv(channels: int, stride: int) -> nn.Module:
            return build_conv_layer(
                conv_cfg,
                in_channels,
                channels,
                3,
                stride=stride,
                padding=dilation,
                dilation=dilation,
                groups=groups,
                bias=False,
            )

        self.identity = identity
        self.k2 = Sequential(
            ClampedPool(pooling_r, pooling), conv(in_channels, 1), build_norm_layer(norm_cfg, in_channels)[1]
        )
        self.k3 = Sequential(conv(in_channels, 1), build_norm_layer(norm_cfg, in_channels)[1])
        self.k4 = Sequential(conv(out_channels, stride))
        if last_norm:
            self.k4.append(build_norm_layer(norm_cfg, out_channels)[1])

    def forward(self, y: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        calibration = F.interpolate(self.k2(y), y.shape[2:])
        if self.identity:
            calibration = y + calibration
        return self.k4(self.k3(y) * torch.sigmoid(calibration))


class SCConv2d(BaseModule):
    """A whole self-calibrated convolution in the place of a 3x3 convolution (figure 2).

    The input's channels are split into halves: k1, a plain 3x3 convolution, takes one and
    :class:`SCConv` the other; the outputs are concatenated. No norm follows k1 and k4, because
    the host has one after the convolution that this replaces.

    Args:
        in_channels: Channels of the input, even.
        out_channels: Channels of the output, even.
        stride: Stride of k1 and k4.
        dilation: Dilation, which is also the padding.
        groups: Groups of every convolution.
        bias: Whether k1 and k4 have biases.
        **calibration: ``pooling_r``, ``pooling``, ``identity``, ``norm_cfg`` of :class:`SCConv`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, dilation: int, groups: int, bias: bool, **calibration: Any
    ) -> None:
        super().__init__()
        half_in, half_out = in_channels // 2, out_channels // 2
        self.k1 = nn.Conv2d(half_in, half_out, 3, stride, dilation, dilation, groups, bias=bias)
        self.scconv = SCConv(half_in, half_out, stride, dilation, groups, last_norm=False, **calibration)
        if bias:
            self.scconv.k4[0] = nn.Conv2d(half_in, half_out, 3, stride, dilation, dilation, groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        plain, calibrated = x.chunk(2, dim=1)
        return torch.cat([self.k1(plain), self.scconv(calibrated)], dim=1)
