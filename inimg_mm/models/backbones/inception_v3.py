"""Inception-v3, for classifiers and for dense prediction, and the same with gates."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.attention import Attention
from inimg_mm.models.checks import layer_config, positive_integer
from inimg_mm.registry import MODELS

from .base import Backbone, unknown_argument
from .inception_blocks import (
    PADDINGS,
    Branches,
    Conv,
    MixedBlock,
    grid_8,
    grid_17,
    grid_17_to_8,
    grid_35,
    grid_35_to_17,
    max_pool,
    norm_config,
    width_after,
)
from .pretrained_init import starting_point
from .separable import outside_stems

INIT_CFG = (
    dict(type='TruncNormal', layer='Conv2d', std=0.1),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)

STEMS: dict[str, tuple[Conv, ...]] = {
    '3x3': (
        Conv('Conv2d_1a_3x3', 32, (3, 3), stride=2, shrinks=True),
        Conv('Conv2d_2a_3x3', 32, (3, 3), shrinks=True),
        Conv('Conv2d_2b_3x3', 64, (3, 3)),
    ),
    '7x7': (Conv('Conv2d_1a_7x7', 64, (7, 7), stride=2, shrinks=True),),
}
"""The three 3x3 convolutions of Inception-v3, and the 7x7 that they factorise (table 3 of the paper)."""

STAGES: tuple[dict[str, Conv | Branches], ...] = (
    {
        'Conv2d_3b_1x1': Conv('Conv2d_3b_1x1', 80),
        'Conv2d_4a_3x3': Conv('Conv2d_4a_3x3', 192, (3, 3), shrinks=True),
    },
    {'Mixed_5b': grid_35(32), 'Mixed_5c': grid_35(64), 'Mixed_5d': grid_35(64)},
    {
        'Mixed_6a': grid_35_to_17(),
        'Mixed_6b': grid_17(128),
        'Mixed_6c': grid_17(160),
        'Mixed_6d': grid_17(160),
        'Mixed_6e': grid_17(192),
    },
    {'Mixed_7a': grid_17_to_8(), 'Mixed_7b': grid_8(), 'Mixed_7c': grid_8()},
)
"""What each stage has. A max pool begins the first two; the others halve the map in their first block."""

SMALLEST_IMAGE = (19, 27, 43, 75)
"""Least height and width in pixels with ``padding='valid'``, by the last stage that is built."""


@MODELS.register_module()
class InceptionV3(Backbone):
    """Inception-v3 (Szegedy et al., arXiv 1512.00567) with torchvision's layers and names.

    Its four stages are what lies between two halvings of the map: they end in the last convolution before
    the mixed blocks (192 channels, stride 4), Mixed_5d (288, 8), Mixed_6e (768, 16) and Mixed_7c (2048, 32).
    A gate of one stream can follow each of the eleven mixed blocks. torchvision's weights expect images of
    mean 0.5 and deviation 0.5.

    Args:
        padding: 'valid' pads as torchvision does, for classification: of 299 pixels the maps keep 71,
            35, 17 and 8. 'same' pads every layer, for dense prediction: the maps are 1/4, 1/8, 1/16 and
            1/32 of the image, rounded up. The weights are the same.
        stem: '3x3', or the single '7x7' that its first three convolutions factorise (table 3: all systems
            before "factorized 7x7").
        in_channels: Channels of the image.
        out_indices: Stages whose outputs are returned; later stages are not built. None: see
            :class:`.Backbone`.
        frozen_stages: See :class:`.Backbone`.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norms. Default: BN; ``eps`` is 1e-3 unless the config has its own.
        norm_eval: See :class:`.Backbone`.
        dcn: None; this net has no deformable form.
        plugins: None; gates are given as ``attention``.
        with_cp: Recompute the mixed blocks in the backward pass to save memory.
        attention: ``dict(type='SE', …)`` or ``dict(type='InnerImaging', streams=1, …)``, see
            :class:`.Attention`; the first of four ``stages`` has no mixed block and no gate.
        init_cfg: mmengine's initialiser config.
        pretrained: The hosts' older word for ``init_cfg=dict(type='Pretrained', checkpoint=pretrained)``.

    Raises:
        UsageError: If an argument is out of its range or cannot be honoured; the message names the choices.
    """

    def __init__(
        self,
        padding: str = 'valid',
        stem: str = '3x3',
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        norm_eval: bool = False,
        dcn: None = None,
        plugins: None = None,
        with_cp: bool = False,
        attention: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
        pretrained: str | None = None,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            raise unknown_argument(type(self), name)
        if padding not in PADDINGS:
            raise UsageError(f'padding must be one of {list(PADDINGS)}, got {padding!r}')
        if stem not in list(STEMS):
            raise UsageError(f'stem must be one of {list(STEMS)}, got {stem!r}')
        if dcn is not None:
            raise UsageError(f'dcn={dcn!r}: InceptionV3 has no deformable form, dcn=None')
        if plugins is not None:
            raise UsageError('InceptionV3 takes no plugins; gates are given as attention=dict(type=…)')
        init_cfg = starting_point(init_cfg, pretrained, INIT_CFG)
        super().__init__(len(STAGES), out_indices, frozen_stages, norm_eval, init_cfg)
        layer_config('conv_cfg', conv_cfg, "dict(type='Conv2d')")
        norm_cfg = norm_config(norm_cfg)
        gates = _checked_gates(attention, norm_cfg)
        self.padding = padding

        channels = positive_integer('in_channels', in_channels)
        self.stem_names = [conv.name for conv in STEMS[stem]]
        for conv in STEMS[stem]:
            self.add_module(conv.name, conv.build(channels, padding, outside_stems(conv_cfg), norm_cfg))
            channels = conv.channels
        for index, layers in enumerate(STAGES[: self.depth_to_build]):
            parts: dict[str, nn.Module] = {f'maxpool{index + 1}': max_pool(padding)} if index < 2 else {}
            for name, layer in layers.items():
                if isinstance(layer, Conv):
                    parts[name] = layer.build(channels, padding, conv_cfg, norm_cfg)
                    channels = layer.channels
                else:
                    width = sum(width_after(steps, channels) for steps in layer)
                    gate = gates.build(index, width, width // 4)
                    parts[name] = MixedBlock(channels, layer, padding, conv_cfg, norm_cfg, gate, with_cp)
                    channels = width
            self.add_stage(parts, channels, 4 * 2**index)
        self._freeze()

    def stem(self, x: Tensor) -> Tensor:
        """See :meth:`.Backbone.stem`.

        Raises:
            UsageError: If the image is smaller than ``padding='valid'`` leaves anything of.
        """
        smallest = SMALLEST_IMAGE[self.depth_to_build - 1]
        if self.padding == 'valid' and min(x.shape[2:]) < smallest:
            raise UsageError(
                f"images of {x.shape[2]}x{x.shape[3]} are too small for InceptionV3 with padding='valid': "
                f"{smallest}x{smallest} and more fit; padding='same' takes any"
            )
        for module in self.stem_modules():
            x = module(x)
        return x

    def stem_modules(self) -> list[nn.Module]:
        """See :meth:`.Backbone.stem_modules`."""
        return [getattr(self, name) for name in self.stem_names]

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """See :meth:`.Backbone.get_layer_depth`; Conv2d_3b, 4a and each mixed block are layers."""
        layers = [name for layers in STAGES[: self.depth_to_build] for name in layers]
        num_layers = len(layers) + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        name = param_name[len(prefix) :].partition('.')[0]
        return 1 + layers.index(name) if name in layers else 0, num_layers


def _checked_gates(attention: dict[str, Any] | None, norm_cfg: dict[str, Any]) -> Attention:
    gates = Attention(attention, len(STAGES), norm_cfg, has_shortcut=False)
    if isinstance(attention, Mapping) and attention.get('stages') is not None and gates.stages[0]:
        raise UsageError(
            f"attention stages={attention['stages']!r}: InceptionV3's first stage has no mixed block to "
            f'gate; write stages={(False, *gates.stages[1:])}'
        )
    return gates
