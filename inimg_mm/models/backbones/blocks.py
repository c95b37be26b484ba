"""Residual blocks: one template, with the gate built just before the add."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from inimg_mm.models.attention import Gate, recalibrated_add
from inimg_mm.models.checks import layer_config

from .recomputing import checkpointed

PLAIN_WIDTH = 64
"""The ``base_width`` of a block that is as wide as its planes."""


def branch_width(planes: int, base_width: int, groups: int) -> int:
    """Channels of a block's 3x3 convolution: ``int(planes * base_width / 64) * groups``.

    Raises:
        ValueError: If that leaves no channel.
    """
    width = int(planes * base_width / PLAIN_WIDTH) * groups
    if width < 1:
        raise ValueError(
            f'base_width={base_width} leaves no channel in a block of {planes} planes; raise base_width'
        )
    return width


class ResidualBlock(BaseModule):
    """The template of every block.

    ``out = activate(shortcut + gate(residual, shortcut) * drop_path(residual))``

    A subclass implements :meth:`branch` and :attr:`last_affine`.

    Args:
        downsample: Projects the input to the shortcut; None for an identity.
        gate: Weighs the residual's channels; None for a plain block.
        with_cp: Recompute the block in the backward pass to save memory.
        drop_path_rate: Probability of dropping the residual of a sample.
        init_cfg: mmengine's initialiser config.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        downsample: nn.Module | None = None,
        gate: Gate | None = None,
        with_cp: bool = False,
        drop_path_rate: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.gate_name = None if gate is None else gate.attribute
        if gate is not None:
            self.add_module(gate.attribute, gate)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        self.with_cp = with_cp

    @property
    def gate_module(self) -> Gate | None:
        """The block's gate, under whichever name it is held."""
        return self._modules[self.gate_name] if self.gate_name else None

    @property
    @abstractmethod
    def last_affine(self) -> nn.Module:
        """The layer that ends the residual branch; its weight and bias scale the residual."""

    @abstractmethod
    def branch(self, x: Tensor) -> Tensor:
        """The residual branch up to and with its last layer."""

    def paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shortcut and residual of the input ``x``, each (N, C, H, W)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return shortcut, self.branch(x)

    def activate(self, x: Tensor) -> Tensor:
        """What follows the add."""
        return self.relu(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpointed(self, self._forward, x)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        shortcut, residual = self.paths(x)
        return self.activate(recalibrated_add(shortcut, residual, self.gate_module, self.drop_path))

    def add_norm(self, norm_cfg: dict[str, Any], channels: int, postfix: int | str) -> str:
        """Add a norm under the name that mmcv gives it ('bn1' for BN and 1); returns the name."""
        name, norm = build_norm_layer(norm_cfg, channels, postfix=postfix)
        self.add_module(name, norm)
        return name


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions (ResNet-18 and -34).

    Args:
        in_channels: Channels of the input.
        planes: Channels of the output.
        stride: Stride of the first convolution.
        dilation: Dilation of the first convolution.
        groups: 1; this block has no grouped form.
        base_width: 64; this block has no wider form.
        style: 'pytorch' or 'caffe', the same for this block.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms.
        dcn: None; this block has no deformable form.
        zero_init_residual: Start with the last norm's weight at zero.
        **template: See :class:`ResidualBlock`.

    Raises:
        ValueError: If ``groups``, ``base_width`` or ``dcn`` asks for a form that this block does not have.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        base_width: int = PLAIN_WIDTH,
        style: str = 'pytorch',
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        dcn: dict[str, Any] | None = None,
        zero_init_residual: bool = True,
        **template: Any,
    ) -> None:
        super().__init__(**template)
        for name, value, plain in (
            ('groups', groups, 1),
            ('base_width', base_width, PLAIN_WIDTH),
            ('dcn', dcn, None),
        ):
            if value != plain:
                raise ValueError(
                    f'{name}={value!r} needs bottleneck blocks (depth 50 and more); '
                    f'a basic block takes {name}={plain}'
                )
        norm_cfg = norm_cfg or dict(type='BN')
        self.conv1 = build_conv_layer(
            conv_cfg, in_channels, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.norm1_name = self.add_norm(norm_cfg, planes, 1)
        self.conv2 = build_conv_layer(conv_cfg, planes, planes, 3, padding=1, bias=False)
        self.norm2_name = self.add_norm(norm_cfg, planes, 2)
        if zero_init_residual:
            self.init_cfg = zero_init(self.norm2_name)

    @property
    def last_affine(self) -> nn.Module:
        """See :attr:`ResidualBlock.last_affine`."""
        return getattr(self, self.norm2_name)

    def branch(self, x: Tensor) -> Tensor:
        """See :meth:`ResidualBlock.branch`."""
        x = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        return self.last_affine(self.conv2(x))


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1 convolutions (ResNet-50 and deeper, ResNeXt).

    Args:
        in_channels: Channels of the input.
        planes: A quarter of the output's channels.
        stride: Stride of the block.
        dilation: Dilation of the 3x3 convolution.
        groups: Groups of the 3x3 convolution.
        base_width: Width of the 3x3 convolution, see :func:`branch_width`.
        style: The stride is in the 3x3 convolution ('pytorch') or in the first ('caffe').
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms.
        dcn: Config of a deformable 3x3 convolution instead of ``conv_cfg``'s. With
            ``fallback_on_stride=True`` a strided one stays plain.
        zero_init_residual: Start with the last norm's weight at zero.
        **template: See :class:`ResidualBlock`.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        base_width: int = PLAIN_WIDTH,
        style: str = 'pytorch',
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        dcn: dict[str, Any] | None = None,
        zero_init_residual: bool = True,
        **template: Any,
    ) -> None:
        super().__init__(**template)
        norm_cfg = norm_cfg or dict(type='BN')
        width, channels = branch_width(planes, base_width, groups), planes * self.expansion
        stride1, stride2 = (1, stride) if style == 'pytorch' else (stride, 1)
        self.conv1 = build_conv_layer(conv_cfg, in_channels, width, 1, stride=stride1, bias=False)
        self.norm1_name = self.add_norm(norm_cfg, width, 1)
        self.conv2 = build_conv_layer(
            spatial_conv_cfg(conv_cfg, dcn, stride2),
            width,
            width,
            3,
            stride=stride2,
            padding=dilation,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.norm2_name = self.add_norm(norm_cfg, width, 2)
        self.conv3 = build_conv_layer(conv_cfg, width, channels, 1, bias=False)
        self.norm3_name = self.add_norm(norm_cfg, channels, 3)
        if zero_init_residual:
            self.init_cfg = zero_init(self.norm3_name)

    def init_weights(self) -> None:
        """Initialise once; the offsets of a deformable convolution start at zero."""
        first = not self.is_init
        super().init_weights()
        if first and hasattr(self.conv2, 'init_offset'):  # DCN; DCNv2 does so by itself
            self.conv2.init_offset()

    @property
    def last_affine(self) -> nn.Module:
        """See :attr:`ResidualBlock.last_affine`."""
        return getattr(self, self.norm3_name)

    def branch(self, x: Tensor) -> Tensor:
        """See :meth:`ResidualBlock.branch`."""
        x = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        x = self.relu(getattr(self, self.norm2_name)(self.conv2(x)))
        return self.last_affine(self.conv3(x))


def zero_init(norm_name: str) -> dict[str, Any]:
    """Initialiser config that starts a block with the named norm at zero, so as an identity."""
    return dict(type='Constant', val=0, override=dict(name=norm_name))


def spatial_conv_cfg(
    conv_cfg: dict[str, Any] | None, dcn: dict[str, Any] | None, stride: int
) -> dict[str, Any] | None:
    """Config of a block's 3x3 convolution: the deformable one where ``dcn`` asks for it.

    Raises:
        ImportError: If mmcv was built without its ops.
    """
    if dcn is None:
        return conv_cfg
    try:
        import mmcv.ops  # noqa: F401  registers DCN and DCNv2
    except ImportError as error:
        raise ImportError(f'dcn={dcn!r} needs mmcv with its compiled ops (mmcv._ext): {error}') from error
    layer_config('dcn', dcn, "dict(type='DCNv2', deform_groups=1)")
    options = dict(dcn)
    if options.pop('fallback_on_stride', False) and stride != 1:
        return conv_cfg
    return options
