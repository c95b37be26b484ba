"""ResNet and ResNeXt, and the same with gates."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from mmcv.cnn import build_norm_layer
from mmengine.model import Sequential
from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.attention import Attention
from inimg_mm.models.checks import groups_divide, layer_config, one_size_each, positive_integer
from inimg_mm.models.fused import Fused, checked_recompute, checked_switch, stem
from inimg_mm.registry import MODELS

from .base import Backbone, unknown_argument
from .block_options import BlockOptions, one_width
from .blocks import BasicBlock, Bottleneck
from .pretrained_init import starting_point
from .projections import projection
from .separable import outside_stems
from .stages import block_dilations, stage_dcn
from .stems import stem_conv

INIT_CFG = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)


@MODELS.register_module()
class ResNet(Backbone):
    """Residual network (He et al., arXiv 1512.03385), with any gate.

    The arguments are mmdet's, with its meaning; the defaults differ in ``norm_eval``.
    ResNeXt is ``groups=32, base_width=4``; v1d is ``deep_stem=True, avg_down=True``.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: Channels of the image.
        stem_channels: Channels of the stem. Default: ``base_channels``.
        base_channels: Planes of the first stage; each further stage doubles them.
        groups: Groups of the 3x3 convolutions.
        base_width: The 3x3 convolutions have ``int(planes * base_width / 64) * groups`` channels.
            Default: the family's own, 64 in ResNet.
        num_stages: From 1 to 4.
        strides: Stride of each stage's first block.
        dilations: Dilation of each stage.
        contract_dilation: The first block of a dilated stage takes ``max(d // 2, 1)``.
        multi_grid: Dilation of each block of the last stage, instead of its ``dilations`` value.
        out_indices: Stages whose outputs are returned, see :class:`.Backbone`; later stages are not built.
        style: Stride in the 3x3 ('pytorch') or in the first 1x1 convolution ('caffe').
        deep_stem: Three 3x3 convolutions instead of the 7x7.
        stem_ceil_mode: The stem's max pool rounds up and does not pad (timm's ``legacy_seresnet``).
        avg_down: Average pool before the shortcut's 1x1 convolution.
        frozen_stages: See :class:`.Backbone`.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms.
        norm_eval: See :class:`.Backbone`.
        dcn: Config of deformable 3x3 convolutions, e.g. ``dict(type='DCNv2', deform_groups=1)``.
        stage_with_dcn: Which stages have them.
        plugins: None; gates are given as ``attention``.
        with_cp: Recompute blocks in the backward pass to save memory.
        zero_init_residual: Start every block that learns as an identity.
        drop_path_rate: Stochastic depth: the rate rises linearly from 0 in the first to this in
            the last block (arXiv 1603.09382).
        attention: ``dict(type='SE' | 'CMPESE' | 'InnerImaging', stages=None, position='standard',
            **options)``, see :class:`.Attention`; None for the family's own (none in ResNet). Without
            ``type``, options of the family's own.
        init_cfg: mmengine's initialiser config.
        pretrained: The hosts' older word for ``init_cfg=dict(type='Pretrained', checkpoint=pretrained)``.
        width_per_group: mmpretrain's word for ``base_width``.
        fused: False, 'auto' or True: whether fused operations stand for norms, ReLUs and blocks' ends,
            see :mod:`inimg_mm.models.fused.switch`.
        recompute: Whether fused operations do not keep their outputs for the backward pass, but make them
            again, each in one more walk: less memory, the same numbers. Not together with ``with_cp``.

    Raises:
        UsageError: If an argument is out of its range or cannot be honoured; the message names the choices.
    """

    arch_settings: ClassVar[dict[int, tuple[Any, tuple[int, ...]]]] = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }
    stage_type: ClassVar[type[Sequential]] = Sequential
    default_width: ClassVar[int] = 64
    default_attention: ClassVar[dict[str, Any] | None] = None

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        groups: int = 1,
        base_width: int | None = None,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        contract_dilation: bool = False,
        multi_grid: Sequence[int] | None = None,
        out_indices: Sequence[int] | None = None,
        style: str = 'pytorch',
        deep_stem: bool = False,
        stem_ceil_mode: bool = False,
        avg_down: bool = False,
        frozen_stages: int = -1,
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        norm_eval: bool = False,
        dcn: dict[str, Any] | None = None,
        stage_with_dcn: Sequence[bool] = (False, False, False, False),
        plugins: None = None,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        drop_path_rate: float = 0.0,
        attention: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
        pretrained: str | None = None,
        width_per_group: int | None = None,
        fused: Fused = False,
        recompute: bool = False,
        **unknown: Any,
    ) -> None:
        family = type(self).__name__
        for name in unknown:
            raise unknown_argument(type(self), name)
        block, depths = self.architecture(depth)
        self.block_type, self.depths = block, depths
        if num_stages not in range(1, len(depths) + 1):
            raise UsageError(f'num_stages must be from 1 to {len(depths)}, got {num_stages!r}')
        if style not in ('pytorch', 'caffe'):
            raise UsageError(f"style must be 'pytorch' or 'caffe', got {style!r}")
        if plugins is not None:
            raise UsageError(f'{family} takes no plugins; gates are given as attention=dict(type=…)')
        if not isinstance(drop_path_rate, int | float) or not 0 <= drop_path_rate < 1:
            raise UsageError(f'drop_path_rate must be at least 0 and below 1, got {drop_path_rate!r}')
        init_cfg = starting_point(init_cfg, pretrained, INIT_CFG)
        super().__init__(num_stages, out_indices, frozen_stages, norm_eval, init_cfg)
        self.fused = checked_switch(fused)
        self.recompute = checked_recompute(recompute, self.fused, with_cp)
        strides = one_size_each('strides', strides, num_stages)
        dilations = one_size_each('dilations', dilations, num_stages)
        layer_config('norm_cfg', norm_cfg or None, "dict(type='BN')")
        layer_config('conv_cfg', conv_cfg, "dict(type='Conv2d')")
        net = BlockOptions(
            groups=positive_integer('groups', groups),
            base_width=one_width(base_width, width_per_group, self.default_width),
            style=style,
            conv_cfg=conv_cfg,
            norm_cfg=copy.deepcopy(norm_cfg) if norm_cfg else dict(type='BN'),
            with_cp=with_cp,
            fused=self.fused,
            recompute=self.recompute,
        )
        self.attention = self.attention_spec(attention)
        gates = Attention(self.attention, num_stages, net.norm_cfg, positions=block.gate_positions)
        net = replace(net, gate_position=gates.position)
        dcns = stage_dcn(dcn, stage_with_dcn, num_stages)

        self.base_channels = positive_integer('base_channels', base_channels)
        self.avg_down = avg_down
        positive_integer('in_channels', in_channels)
        channels = (
            base_channels if stem_channels is None else positive_integer('stem_channels', stem_channels)
        )
        groups_divide('norm_cfg', net.norm_cfg, {'conv1': channels, 'layer1': self.planes(0, 0)})
        total_stride = self.add_stem(in_channels, channels, net, deep_stem, stem_ceil_mode)
        number, last = 0, max(sum(depths[:num_stages]) - 1, 1)
        for stage in range(self.depth_to_build):
            grid = multi_grid if stage == num_stages - 1 else None
            per_block = block_dilations(dilations[stage], depths[stage], contract_dilation, grid)
            blocks = []
            for index, dilation in enumerate(per_block):
                options = replace(
                    net,
                    stride=strides[stage] if index == 0 else 1,
                    dilation=dilation,
                    dcn=dcns[stage],
                    zero_init_residual=zero_init_residual and stage >= frozen_stages,
                    drop_path_rate=drop_path_rate * number / last,
                )
                planes = self.planes(stage, number)
                in_channels, channels = channels, planes * block.expansion
                shortcut = self.shortcut(in_channels, channels, options)
                gate = gates.build(stage, block.gated_channels(in_channels, planes, options), planes)
                own = self.block_options(stage, index)
                blocks.append(block(in_channels, planes, options, downsample=shortcut, gate=gate, **own))
                number += 1
            total_stride *= strides[stage]
            self.add_stage(self.stage_type(*blocks), channels, total_stride)
        self.add_ending(channels, net)
        self._freeze()

    def architecture(self, depth: int) -> tuple[Any, tuple[int, ...]]:
        """Block and number of blocks in each stage.

        Raises:
            UsageError: If there is no such depth; all are named.
        """
        choices = list(self.arch_settings)
        if depth not in choices:
            raise UsageError(f'{type(self).__name__} has no depth {depth!r}; choose from {choices}')
        return self.arch_settings[depth]

    def add_stem(
        self, in_channels: int, channels: int, options: BlockOptions, deep: bool, ceil_mode: bool
    ) -> int:
        """Add the stem's modules; returns the stem's stride."""
        self.conv1 = stem_conv(in_channels, channels, deep, outside_stems(options.conv_cfg), options.norm_cfg)
        self.norm1_name, norm1 = build_norm_layer(options.norm_cfg, channels, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=0 if ceil_mode else 1, ceil_mode=ceil_mode)
        return 4

    def planes(self, stage: int, number: int) -> int:
        """Planes of block ``number`` of the net, which is in ``stage``, both from 0."""
        return self.base_channels * 2**stage

    def shortcut(self, in_channels: int, channels: int, options: BlockOptions) -> nn.Module | None:
        """What brings a block's input to the output's shape; None where it has it."""
        conv_cfg, norm_cfg = options.conv_cfg, options.norm_cfg
        return projection(in_channels, channels, options.stride, self.avg_down, conv_cfg, norm_cfg)

    def add_ending(self, channels: int, options: BlockOptions) -> None:
        """Add what follows the last stage that is built, of ``channels``: nothing here."""

    def block_options(self, stage: int, index: int) -> dict[str, Any]:
        """Further arguments that a family gives to block ``index`` of ``stage``, both from 0."""
        return {}

    def stem(self, x: Tensor) -> Tensor:
        """See :meth:`.Backbone.stem`."""
        parts = getattr(self, self.norm1_name), self.relu, self.maxpool
        return stem(self.conv1(x), *parts, self.fused, self.recompute)

    def stem_modules(self) -> list[nn.Module]:
        """See :meth:`.Backbone.stem_modules`."""
        return [self.conv1, getattr(self, self.norm1_name)]

    def attention_spec(self, attention: dict[str, Any] | None) -> dict[str, Any] | None:
        """The family's own gates where ``attention`` names no others."""
        if self.default_attention is None:
            return attention
        if attention is None or (isinstance(attention, Mapping) and 'type' not in attention):
            return {**self.default_attention, **(attention or {})}
        return attention


@MODELS.register_module()
class SEResNet(ResNet):
    """:class:`ResNet` with SE gates (arXiv 1709.01507)."""

    default_attention = dict(type='SE')


@MODELS.register_module()
class SEResNeXt(SEResNet):
    """:class:`SEResNet` with grouped 3x3 convolutions (arXiv 1709.01507); 32x4d by default.

    Args:
        depth: 50, 101 or 152.
        groups: Groups of the 3x3 convolutions.
        **options: See :class:`ResNet`.
    """

    arch_settings: ClassVar = {depth: arch for depth, arch in ResNet.arch_settings.items() if depth >= 50}

    default_width = 4

    def __init__(self, depth: int, groups: int = 32, **options: Any) -> None:
        super().__init__(depth, groups=groups, **options)


@MODELS.register_module()
class CMPESEResNet(ResNet):
    """:class:`ResNet` with competitive SE gates (arXiv 1807.08920); the 1x1 pair view by default."""

    default_attention = dict(type='CMPESE', view='pair_1x1')


@MODELS.register_module()
class InnerImagingResNet(ResNet):
    """:class:`ResNet` with inner-imaging gates (arXiv 1904.12639); D+A+F by default."""

    default_attention = dict(type='InnerImaging', streams=2, filters=((1, 1), (2, 1), (3, 3)), fold=16)
