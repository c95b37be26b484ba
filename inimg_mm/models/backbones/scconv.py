"""Self-calibrated convolutions (Liu et al., CVPR 2020)."""

from collections.abc import Callable
from typing import Any

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn
from torch.nn import functional as F

from inimg_mm.errors import UsageError
from inimg_mm.models.checks import positive_integer
from inimg_mm.models.eager import is_untouched
from inimg_mm.models.fused import (
    Fused,
    calibrate,
    calibrate_fuses,
    can_fuse,
    checked_recompute,
    checked_switch,
    made_again,
    opened,
)
from inimg_mm.registry import MODELS

from .sc_operations import calibrated

Size = int | tuple[int, int]
POOLS: dict[str, Callable[..., Tensor]] = {'avg': F.avg_pool2d, 'max': F.max_pool2d}


class ClampedPool(nn.Module):
    """Pooling with window and step r, or the map's size in a direction in which it is smaller.

    Args:
        r: Window and step.
        pooling: 'avg' or 'max'.

    Raises:
        UsageError: If ``pooling`` is unknown or ``r`` is not a positive integer.
    """

    def __init__(self, r: int, pooling: str) -> None:
        super().__init__()
        if pooling not in POOLS:
            raise UsageError(f'unknown pooling {pooling!r}; choose from {list(POOLS)}')
        self.r = positive_integer('pooling_r', r)
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
        last_bias: Whether k4 has a bias.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms.
        fused: Whether the calibration is fused, see :mod:`inimg_mm.models.fused.switch`.
        recompute: Whether a fused one makes what k4 reads again in the backward pass instead of keeping it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: Size = 1,
        dilation: Size = 1,
        groups: int = 1,
        pooling_r: int = 4,
        pooling: str = 'avg',
        identity: bool = True,
        last_norm: bool = True,
        last_bias: bool = False,
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        fused: Fused = False,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN')
        self.fused = checked_switch(fused)
        self.recompute = checked_recompute(recompute, self.fused)

        shape = dict(padding=dilation, dilation=dilation, groups=groups)

        def conv_and_norm(channels: int, norm: bool = True, **options: Any) -> list[nn.Module]:
            conv = build_conv_layer(conv_cfg, in_channels, channels, 3, **shape, **options)
            return [conv, build_norm_layer(norm_cfg, channels)[1]] if norm else [conv]

        self.identity = identity
        self.k2 = Sequential(ClampedPool(pooling_r, pooling), *conv_and_norm(in_channels, bias=False))
        self.k3 = Sequential(*conv_and_norm(in_channels, bias=False))
        self.k4 = Sequential(*conv_and_norm(out_channels, last_norm, stride=stride, bias=last_bias))

    def forward(self, y: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        y = self.calibrate(y)
        with made_again(y, self.recompute):
            return self.k4(y)

    def calibrate(self, y: Tensor) -> Tensor:
        """What k4 reads, (N, in_channels, H, W)."""
        if can_fuse(self.fused, y) and is_untouched(self):
            (z2, norm2), (z3, norm3) = opened(self.k2, y), opened(self.k3, y)
            if norm2 is not None and norm3 is not None:
                if calibrate_fuses(z3, y, z2, norm3, norm2, self.fused):
                    return calibrate(z3, y, z2, norm3, norm2, self.identity)
                z2, z3 = norm2(z2), norm3(z3)
            return calibrated(z3, y, z2, self.identity)
        small = self.k2(y)
        return calibrated(self.k3(y), y, small, self.identity)

    def opened(self, y: Tensor) -> tuple[Tensor, nn.Module | None]:
        """The output before its last norm, and that; see :func:`.fused.opened`."""
        if not is_untouched(self):
            return self(y), None
        y = self.calibrate(y)
        with made_again(y, self.recompute):
            return opened(self.k4, y)


class SCConv2d(BaseModule):
    """A whole self-calibrated convolution in the place of a 3x3 convolution (figure 2).

    The input's channels are split into halves: k1, a plain 3x3 convolution, takes the first and
    :class:`SCConv` the second; the outputs are concatenated. No norm follows k1 and k4, because
    the host has one after the convolution that this replaces.

    Args:
        in_channels: Channels of the input, even.
        out_channels: Channels of the output, even.
        stride: Stride of k1 and k4.
        dilation: Dilation, which is also the padding.
        groups: Groups of every convolution.
        bias: Whether k1 and k4 have biases.
        **calibration: ``pooling_r``, ``pooling``, ``identity``, ``norm_cfg``, ``fused``,
            ``recompute`` of :class:`SCConv`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: Size = 1,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = False,
        **calibration: Any,
    ) -> None:
        super().__init__()
        halves = in_channels // 2, out_channels // 2
        self.k1 = nn.Conv2d(*halves, 3, stride, dilation, dilation, groups, bias)
        self.scconv = SCConv(
            *halves, stride, dilation, groups, last_norm=False, last_bias=bias, **calibration
        )
        # what mmcv's ConvModule reads of a convolution
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = self.k1.kernel_size, self.k1.stride, self.k1.dilation
        self.padding, self.output_padding, self.transposed = self.k1.padding, self.k1.output_padding, False

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        plain, calibrated = x.chunk(2, dim=1)
        return torch.cat([self.k1(plain), self.scconv(calibrated)], dim=1)


@MODELS.register_module('SCConv')
def sc_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: bool = True,
    **calibration: Any,
) -> nn.Module:
    """The convolution of ``conv_cfg=dict(type='inimg_mm.SCConv')`` in a host's backbone.

    Takes a convolution's arguments and the options of :class:`SCConv2d`. A 3x3 convolution that keeps
    the map's size up to its stride and whose channels can be halved becomes self-calibrated; every
    other stays plain (1x1 and 7x7 ones, and a deep stem's first, of three channels).
    """
    halves = in_channels % (2 * groups) == out_channels % (2 * groups) == 0
    if _pair(kernel_size) != (3, 3) or _pair(padding) != _pair(dilation) or not halves:
        return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
    return SCConv2d(in_channels, out_channels, stride, dilation, groups, bias, **calibration)


def _pair(value: Size) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
