"""Fully convolutional segmentation with skips (Long et al., CVPR 2015). Imports mmseg."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn
from torch.nn import functional as F

from inimg_mm.errors import UsageError

NO_HIDDEN_LAYER = ('channels', 'conv_cfg', 'norm_cfg', 'act_cfg')
"""Options of mmseg's heads for the layers before the scores."""


class FCNSkipHead(BaseDecodeHead):
    """The head of FCN-32s, FCN-16s and FCN-8s (Long et al., CVPR 2015, section 4.2).

    A 1x1 convolution scores the classes on the coarsest map. For each skip these scores are
    upsampled by 2, and those of the next finer map, from a 1x1 convolution of its own, are added.
    mmseg resizes the sum to the image, bilinearly, as the paper's last, fixed layer does.

    The upsampling is the paper's, see :class:`DoublingUpsample`, and not a plain interpolation: it
    costs 16 K^2 weights a skip for K classes, starts as bilinear interpolation and learns what
    fits better. A skip's scores start at zero, as in the paper: a net with one more skip, loaded
    from one with less, begins with the predictions of that.

    Args:
        in_channels: Channels of the backbone's maps, from fine to coarse.
        num_classes: Number of classes.
        skips: How many finer maps are added: with maps of strides 8, 16 and 32, 0 is FCN-32s,
            1 is FCN-16s and 2 is FCN-8s. The coarsest ``skips + 1`` maps are read, nothing is built
            for the others.
        in_index: Which of the backbone's maps ``in_channels`` describes. Default: all, in order.
        dropout_ratio: Dropout of the coarsest map's channels.
        align_corners: False; the upsampling keeps the pixels' areas, not their corners, aligned.
        **options: ``out_channels, threshold, loss_decode, ignore_index, sampler, init_cfg`` of mmseg's
            ``BaseDecodeHead``.

    Raises:
        UsageError: If an argument is out of its range or cannot be honoured; the message names the choices.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        skips: int = 2,
        in_index: Sequence[int] | None = None,
        dropout_ratio: float = 0.1,
        align_corners: bool = False,
        **options: Any,
    ) -> None:
        channels, indices = _maps(in_channels, in_index)
        if not isinstance(skips, int) or skips not in range(len(channels)):
            raise UsageError(
                f'skips must be from 0 to {len(channels) - 1}, one less than the maps of '
                f'in_channels={in_channels!r}, got {skips!r}'
            )
        if align_corners:
            raise UsageError('FCNSkipHead upsamples by 2 with align_corners=False, got align_corners=True')
        for name in options:
            if name in NO_HIDDEN_LAYER:
                raise UsageError(f'FCNSkipHead takes no {name}: it has no layer before the scores')
        if 'input_transform' in options:
            raise UsageError('FCNSkipHead takes no input_transform: skips says which maps it reads')
        super().__init__(
            channels[-1 - skips :],
            channels[-1],
            num_classes=num_classes,
            in_index=indices[-1 - skips :],
            input_transform='multiple_select',
            dropout_ratio=dropout_ratio,
            align_corners=False,
            **options,
        )
        self.upsamplers = nn.ModuleList(DoublingUpsample(self.out_channels) for _ in range(skips))
        self.scorers = nn.ModuleList(
            _zero_scorer(width, self.out_channels) for width in reversed(self.in_channels[:-1])
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Score the classes.

        Args:
            inputs: The backbone's maps, from fine to coarse, (N, C, H, W) each.

        Returns:
            Scores at the size of the finest map that is read, (N, out_channels, H, W).

        Raises:
            UsageError: If a map has not half the size of the one before, rounded up.
        """
        *finer, coarsest = self._transform_inputs(inputs)
        scores = self.cls_seg(coarsest)
        for upsample, scorer, feature in zip(self.upsamplers, self.scorers, reversed(finer), strict=True):
            scores = upsample(scores, feature.shape[2:]) + scorer(feature)
        return scores

    def extra_repr(self) -> str:
        """The host's words, and the skips."""
        return f'{super().extra_repr()}, skips={len(self.scorers)}'


class DoublingUpsample(nn.ConvTranspose2d):
    """Learned upsampling by 2: a 4x4 transposed convolution that starts as bilinear interpolation.

    The map's border is repeated first, so that at the start this is ``F.interpolate(x, scale_factor=2,
    mode='bilinear')`` to the last pixel; the kernel alone would fade out there (the authors pad the image).

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 4, stride=2, padding=3, bias=False)

    def reset_parameters(self) -> None:
        """Start as bilinear interpolation, each channel for itself."""
        line = torch.tensor([0.25, 0.75, 0.75, 0.25])
        with torch.no_grad():
            self.weight.zero_()
            self.weight.diagonal().copy_(torch.outer(line, line)[..., None])

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:  # type: ignore[override]
        """Map (N, channels, h, w) to (N, channels, H, W); of an odd size the last row or column is cut.

        Args:
            x: The map.
            size: H and W.

        Raises:
            UsageError: If the map has not half of ``size``, rounded up.
        """
        height, width = size
        if x.shape[2:] != ((height + 1) // 2, (width + 1) // 2):
            raise UsageError(
                f'a map of {tuple(x.shape[2:])} cannot be added to one of {(height, width)}: each map must '
                'have half the size of the one before (strides 8, 16 and 32, without dilation)'
            )
        return super().forward(F.pad(x, (1, 1, 1, 1), mode='replicate'))[..., :height, :width]


def _zero_scorer(in_channels: int, classes: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, classes, 1)
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def _maps(
    in_channels: Sequence[int], in_index: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and indices of the maps that a config names."""
    if not isinstance(in_channels, Sequence) or not in_channels:
        raise UsageError(
            'in_channels lists the channels of the maps from fine to coarse, e.g. (512, 1024, 2048), '
            f'got {in_channels!r}'
        )
    indices = range(len(in_channels)) if in_index is None else in_index
    if not isinstance(indices, Sequence) or len(indices) != len(in_channels):
        raise UsageError(f'in_index names one map for each of in_channels={in_channels!r}, got {in_index!r}')
    return tuple(in_channels), tuple(indices)
