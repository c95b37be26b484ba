"""SCNet: residual networks with self-calibrated convolutions (Liu et al., CVPR 2020)."""

from typing import Any, ClassVar

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import Sequential
from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.fused import can_fuse, made_again, norm_act, norm_act_of_both, opened
from inimg_mm.registry import MODELS

from .blocks import BlockOptions, ResidualBlock, branch_width
from .resnet import ResNet
from .sc_operations import rectified_together, two_projections
from .scconv import SCConv


class SCBottleneck(ResidualBlock):
    """A bottleneck of two branches, one of them self-calibrated.

    Branch a: 1x1, norm, ReLU, 3x3 (k1), norm, ReLU. Branch b: 1x1, norm, ReLU, :class:`.SCConv`,
    ReLU. Both are concatenated, and a 1x1 convolution with norm follows.

    Args:
        in_channels: Channels of the input.
        planes: A quarter of the output's channels.
        options: What the block is built of; ``base_width`` is each branch's.
        avd: The 3x3 convolutions have stride 1, and ``AvgPool2d(3, stride, padding=1)`` follows
            both branches.
        pooling_r: See :class:`.SCConv`.
        pooling: See :class:`.SCConv`.
        identity: See :class:`.SCConv`.
        **paths: ``downsample`` and ``gate`` of :class:`.ResidualBlock`.

    Raises:
        UsageError: If ``style`` or ``dcn`` asks for a form that this block does not have.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        options: BlockOptions,
        avd: bool = False,
        pooling_r: int = 4,
        pooling: str = 'avg',
        identity: bool = True,
        **paths: Any,
    ) -> None:
        super().__init__(options, **paths)
        if options.style != 'pytorch':
            raise UsageError(
                f"style={options.style!r}: SCNet has its strides in the 3x3 convolutions, style='pytorch'"
            )
        if options.dcn is not None:
            raise UsageError(f'dcn={options.dcn!r}: SCNet has no deformable form, dcn=None')
        width = branch_width(planes, options.base_width, options.groups)
        channels, stride, norm_cfg = planes * self.expansion, 1 if avd else options.stride, options.norm_cfg

        self.conv1_a = options.conv1x1(in_channels, width)
        self.norm1_a_name = self.add_norm(norm_cfg, width, '1_a')
        self.k1 = Sequential(options.conv3x3(width, width, stride), build_norm_layer(norm_cfg, width)[1])
        self.conv1_b = options.conv1x1(in_channels, width)
        self.norm1_b_name = self.add_norm(norm_cfg, width, '1_b')
        self.scconv = SCConv(
            width,
            width,
            stride,
            options.dilation,
            options.groups,
            pooling_r,
            pooling,
            identity,
            conv_cfg=options.conv_cfg,
            norm_cfg=norm_cfg,
            fused=options.fused,
            recompute=options.recompute,
        )
        self.avd_layer = nn.AvgPool2d(3, options.stride, padding=1) if avd else nn.Identity()
        self.conv3 = options.conv1x1(2 * width, channels)
        self.norm3_name = self.add_norm(norm_cfg, channels, 3)
        if options.zero_init_residual:
            self.start_at_zero(self.norm3_name)

    @property
    def last_affine(self) -> nn.Module:
        """See :attr:`.ResidualBlock.last_affine`."""
        return self.norm(3)

    def branch(self, x: Tensor) -> Tensor:
        """See :meth:`.ResidualBlock.branch`."""
        return self.last_affine(self.before_norm(x))

    def before_norm(self, x: Tensor) -> Tensor:
        """See :meth:`.ResidualBlock.before_norm`."""
        a, b = two_projections(x, self.conv1_a, self.conv1_b)
        ends = (a, self.norm('1_a')), (b, self.norm('1_b'))
        a, b = norm_act_of_both(*ends, self.relu, self.fused, self.recompute)
        if can_fuse(self.fused, a, b):
            with made_again(a, self.recompute):
                plain = opened(self.k1, a)
            branches = map(self.avd_layer, self._rectified(plain, self.scconv.opened(b)))
            return self.conv3(torch.cat(list(branches), dim=1))
        return self.conv3(rectified_together(self.k1(a), self.scconv(b), self.relu, self.avd_layer))

    def _rectified(self, *ends: tuple[Tensor, nn.Module | None]) -> tuple[Tensor, ...]:
        (y, norm), (y2, norm2) = ends
        if norm is not None and norm2 is not None:
            return norm_act_of_both((y, norm), (y2, norm2), self.relu, self.fused)
        return tuple(
            self.relu(y) if norm is None else norm_act(y, norm, self.relu, self.fused) for y, norm in ends
        )


@MODELS.register_module()
class SCNet(ResNet):
    """Self-calibrated residual network, with any gate.

    v1d is ``deep_stem=True, avg_down=True, avd=True``; SCNeXt is ``groups=32, base_width=2``.

    Args:
        depth: 50, 101 or 152.
        contract_dilation: See :class:`.ResNet`.
        avd: In the first block of stages 2 to 4, also where a dilated stage has stride 1, the 3x3
            convolutions have stride 1 and a 3x3 average pool with the stride follows them.
        pooling_r: Window and step of the calibration's pooling.
        pooling: 'avg' or 'max' pooling in the calibration (the paper's ablation).
        identity: Whether the calibration has the identity term (the paper's ablation).
        **options: See :class:`.ResNet`; ``base_width`` (32) is that of each of the two branches,
            ``style='caffe'`` and ``dcn`` are refused.

    Raises:
        UsageError: If an argument is out of its range or cannot be honoured; the message names the choices.
    """

    arch_settings: ClassVar = {
        depth: (SCBottleneck, blocks) for depth, (_, blocks) in ResNet.arch_settings.items() if depth >= 50
    }
    default_width = 32

    def __init__(
        self,
        depth: int,
        contract_dilation: bool = True,
        avd: bool = False,
        pooling_r: int = 4,
        pooling: str = 'avg',
        identity: bool = True,
        **options: Any,
    ) -> None:
        self.avd = avd
        self.calibration = dict(pooling_r=pooling_r, pooling=pooling, identity=identity)
        super().__init__(depth, contract_dilation=contract_dilation, **options)

    def block_options(self, stage: int, index: int) -> dict[str, Any]:
        """See :meth:`.ResNet.block_options`."""
        return dict(self.calibration, avd=self.avd and stage > 0 and index == 0)
