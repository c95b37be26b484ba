"""Pre-activation residual networks, for images of 224 and of 32 pixels, with any gate."""

from typing import Any, ClassVar

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import Sequential
from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.attention import batch_norm_like
from inimg_mm.models.checks import is_integer, switch
from inimg_mm.registry import MODELS

from .blocks import BlockOptions
from .preact_blocks import NormConvBlock, PreActBasicBlock, PreActBottleneck, PreActivation, PreActStage
from .projections import projection
from .resnet import ResNet
from .separable import outside_stems
from .stages import three_equal_stages

STEMS = ('imagenet', 'cifar')
BASIC, BOTTLENECKS = 'basic blocks', 'bottlenecks'
CIFAR: dict[str, Any] = dict(
    num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), stage_with_dcn=(False,) * 3, base_channels=16
)
"""What a net with the CIFAR stem has unless asked for something else."""
FIRST_OF_BOTTLENECKS = 164
"""From this depth on, a CIFAR net has bottlenecks where its depth allows both."""


@MODELS.register_module()
class PreActResNet(ResNet):
    """Pre-activation residual network (He et al., arXiv 1603.05027), with any gate.

    A stage's sum is no feature yet: it is neither normalised nor activated. A map that is returned is what
    the next stage's first convolution reads, the sum after the norm and ReLU with which that stage begins
    (they alone are built of a stage that nothing else reads); after the net's last stage, ``norm`` and a
    ReLU follow. A gate sees the residual after its last convolution, and the block's input or, where the
    shape changes, the projection of its pre-activation.

    Args:
        depth: 18, 34, 50, 101 or 152 with the ImageNet stem. With the CIFAR stem, (depth - 2) is a multiple
            of 6 (basic blocks: 110) or of 9 (bottlenecks: 164, 1001).
        stem: 'imagenet' (7x7 convolution, norm, ReLU and pool, four stages) or 'cifar' (a 3x3 convolution of
            stride 1, three stages, ``base_channels=16``). Default: by depth.
        bottleneck: Blocks of a net with the CIFAR stem; default: bottlenecks from depth 164 on.
        input_norm: Normalise the image by a batch norm without scale and shift, as CMPE-SE's authors do.
        stem_norm: A norm after the CIFAR stem's convolution; default: none, in a :class:`.PyramidNet` one.
        stem_relu: A ReLU after that (pytorchcv's SE-PreResNet has both).
        final_norm: Whether norm and ReLU follow the last stage (pytorchcv's SE-PreResNet has none).
        zero_init_residual: Start every block that learns as an identity: its last layer is zero.
        **options: See :class:`.ResNet`.

    Raises:
        UsageError: If an argument is out of its range or cannot be honoured; the message names the choices.
    """

    arch_settings: ClassVar = {
        depth: (PreActBasicBlock if depth < 50 else PreActBottleneck, blocks)
        for depth, (_, blocks) in ResNet.arch_settings.items()
    }
    cifar_blocks: ClassVar[dict[str, tuple[type[NormConvBlock], int, int]]] = {
        BASIC: (PreActBasicBlock, 2, 6),
        BOTTLENECKS: (PreActBottleneck, 2, 9),
    }
    """Block, layers of a net outside of its blocks, and layers of three blocks."""
    cifar_stem_norm: ClassVar[bool] = False
    stage_type = PreActStage

    def __init__(
        self,
        depth: int,
        stem: str | None = None,
        bottleneck: bool | None = None,
        input_norm: bool = False,
        stem_norm: bool | None = None,
        stem_relu: bool = False,
        final_norm: bool = True,
        zero_init_residual: bool = False,
        **options: Any,
    ) -> None:
        if stem is None:
            stem = STEMS[0] if depth in list(self.arch_settings) else STEMS[1]
        if stem not in STEMS:
            raise UsageError(f'stem must be one of {STEMS}, got {stem!r}')
        self.has_cifar_stem = stem == 'cifar'
        asked = dict(bottleneck=bottleneck, stem_norm=stem_norm, stem_relu=stem_relu or None)
        for name, value in asked.items():
            if value is not None and not self.has_cifar_stem:
                raise UsageError(f"{name}={value!r} belongs to nets with stem='cifar'")
        self.wants_bottlenecks = None if bottleneck is None else switch('bottleneck', bottleneck)
        self.has_input_norm = switch('input_norm', input_norm)
        self.has_final_norm = switch('final_norm', final_norm)
        self.has_stem_norm = self.cifar_stem_norm if stem_norm is None else switch('stem_norm', stem_norm)
        self.has_stem_relu = switch('stem_relu', stem_relu)
        options = {**(CIFAR if self.has_cifar_stem else {}), **options}
        super().__init__(depth, zero_init_residual=zero_init_residual, **options)

    def architecture(self, depth: int) -> tuple[Any, tuple[int, ...]]:
        """See :meth:`.ResNet.architecture`."""
        if not self.has_cifar_stem:
            return super().architecture(depth)
        kinds = list(self.cifar_blocks)
        if self.wants_bottlenecks is not None:
            kinds = [BOTTLENECKS if self.wants_bottlenecks else BASIC]
        elif is_integer(depth) and depth >= FIRST_OF_BOTTLENECKS:
            kinds.reverse()
        rules = {kind: self.cifar_blocks[kind][1:] for kind in kinds}
        imagenet = sorted(self.arch_settings)
        further = f"; with stem='imagenet' choose from {imagenet}" if imagenet else ''
        kind, blocks = three_equal_stages(type(self).__name__, depth, rules, further)
        return self.cifar_blocks[kind][0], blocks

    def add_stem(
        self, in_channels: int, channels: int, options: BlockOptions, deep: bool, ceil_mode: bool
    ) -> int:
        """See :meth:`.ResNet.add_stem`."""
        norm_cfg = dict(batch_norm_like(options.norm_cfg), affine=False)
        self.input_norm = build_norm_layer(norm_cfg, in_channels)[1] if self.has_input_norm else nn.Identity()
        if not self.has_cifar_stem:
            return super().add_stem(in_channels, channels, options, deep, ceil_mode)
        for name, value in (('deep_stem', deep), ('stem_ceil_mode', ceil_mode)):
            if value:
                raise UsageError(f"{name}={value!r} belongs to nets with stem='imagenet'")
        conv_cfg = outside_stems(options.conv_cfg)
        self.conv1 = build_conv_layer(conv_cfg, in_channels, channels, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        if self.has_stem_norm:
            self.norm1_name, norm1 = build_norm_layer(options.norm_cfg, channels, postfix=1)
            self.add_module(self.norm1_name, norm1)
        return 1

    def shortcut(self, in_channels: int, channels: int, options: BlockOptions) -> nn.Module | None:
        """See :meth:`.ResNet.shortcut`; no norm follows the convolution."""
        return projection(in_channels, channels, options.stride, self.avg_down, options.conv_cfg, None)

    def add_ending(self, channels: int, options: BlockOptions) -> None:
        """Add the net's last norm, or the norm with which the next stage would begin."""
        self.ending_stage = min(self.depth_to_build, len(self.depths) - 1)
        self.is_whole = self.depth_to_build == len(self.depths)
        self.ending_name = 'norm' if self.is_whole else f'layer{self.ending_stage + 1}'
        ending: nn.Module = nn.Identity()
        if not self.is_whole:
            ending = Sequential(PreActivation(self.block_type, channels, options.norm_cfg))
        elif self.has_final_norm:
            ending = build_norm_layer(options.norm_cfg, channels)[1]
        self.add_module(self.ending_name, ending)
        self.last_relu = nn.ReLU(inplace=True) if self.is_whole and self.has_final_norm else nn.Identity()

    def stem(self, x: Tensor) -> Tensor:
        """See :meth:`.Backbone.stem`."""
        x = self.input_norm(x)
        if not self.has_cifar_stem:
            return super().stem(x)
        x = self.conv1(x)
        if self.has_stem_norm:
            x = getattr(self, self.norm1_name)(x)
        return self.relu(x) if self.has_stem_relu else x

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`.Backbone.forward`."""
        x = self.stem(x)
        outputs = []
        for index, name in enumerate(self.stage_names):
            if index - 1 in self.out_indices:
                x, active = getattr(self, name)(x, with_preactivation=True)
                outputs.append(active)
            else:
                x = getattr(self, name)(x)
        return *outputs, self.last_relu(getattr(self, self.ending_name)(x))

    def stem_modules(self) -> list[nn.Module]:
        """See :meth:`.Backbone.stem_modules`."""
        norms = [getattr(self, self.norm1_name)] if not self.has_cifar_stem or self.has_stem_norm else []
        return [self.input_norm, self.conv1, *norms]

    def stage_modules(self, stage: int) -> list[nn.Module]:
        """See :meth:`.Backbone.stage_modules`; the last norm belongs to the last stage."""
        ending = [getattr(self, self.ending_name)] if stage == self.ending_stage else []
        return super().stage_modules(stage) + ending

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """See :meth:`.Backbone.get_layer_depth`; the last norm belongs to the last block."""
        layer, layers = super().get_layer_depth(param_name, prefix)
        return layers - 2 if param_name.startswith(f'{prefix}{self.ending_name}.') else layer, layers
