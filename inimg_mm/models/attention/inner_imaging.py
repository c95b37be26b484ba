"""Inner-imaging gates (arXiv 1904.12639) and their CMPE-SE forms (arXiv 1807.08920)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn
from torch.nn import functional as F

from inimg_mm.errors import UsageError
from inimg_mm.models.checks import layer_config, positive_integer
from inimg_mm.models.eager import is_untouched

from .base import Gate, hidden_width
from .collapsed_bank import collapses, condense
from .inner_image import InnerImage

FC_INIT = dict(type='Kaiming', layer='Linear', mode='fan_in', nonlinearity='relu')
"""Initialiser of the gates' fully connected layers."""


class GroupingFilter(BaseModule):
    """A bank of filters over the inner image, condensed to one map.

    A convolution 1 -> m maps (stride 1, no bias), a norm over the m maps, and the
    mean over the m maps. There is no nonlinearity in it, so that a bank of many maps
    is computed as one filter (:mod:`.collapsed_bank`).

    Args:
        kernel: Height and width of the filters.
        maps: m.
        same_size: Pad the image with zeros so that the map has its size, the odd rest at
            the bottom and right; otherwise no padding.
        norm_cfg: Config of the norm.
    """

    def __init__(self, kernel: tuple[int, int], maps: int, same_size: bool, norm_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, maps, kernel, bias=False)
        self.norm = build_norm_layer(norm_cfg, maps)[1]
        rest_h, rest_w = (kernel[0] - 1, kernel[1] - 1) if same_size else (0, 0)
        self.padding = (rest_w // 2, rest_w - rest_w // 2, rest_h // 2, rest_h - rest_h // 2)

    def forward(self, image: Tensor) -> Tensor:
        """Condense an image (N, 1, H, W) to a map (N, 1, H', W')."""
        if collapses([self], image):
            return condense([self], image)
        return self.norm(self.conv(F.pad(image, self.padding))).mean(1, keepdim=True)


class InnerImaging(Gate):
    """The inner-imaging gate: grouping filters look at the streams' means as an image.

    The means of the residual, and with two streams of the shortcut, are laid out as an
    image (:class:`.InnerImage`). Each grouping filter condenses it to a map, and two
    fully connected layers without biases turn maps into weights:
    ``g = sigmoid(W2 relu(W1 map))``.

    One filter is applied without padding, as in the authors' code. The papers' summaries
    say that several scales are combined and not how; the two ways here are this package's:

    * ``aggregate='map'``: every bank keeps the image's size, the maps are averaged into one,
      which is coded. One pair of fully connected layers however many filters.
    * ``aggregate='code'``: every bank is applied without padding and has its own first fully
      connected layer; the codes, after their ReLU, are averaged.

    The ablation of arXiv 1904.12639: D is ``streams=2, filters=((2, 1),), fold=None``, D+A is
    ``filters=((1, 1), (2, 1))``, and D+A+F, the default, folds and adds the 3x3 filter.

    Args:
        channels: C of the two streams.
        planes: The block's base width: C / 4 in a bottleneck, C in a basic block. Default: C.
        streams: 1 for the residual alone, 2 for residual and shortcut.
        filters: Height and width of each bank of grouping filters.
        fold: How the image is folded: None, a width, ``dict(width=16, pad=True)`` or
            ``dict(rows=10)``; see :meth:`.InnerImage.fold`.
        maps: m, the filters in each bank. Default: ``max(planes // 16, 1)``.
        aggregate: 'map' or 'code'; the same thing for a single filter.
        reduction: The code has ``max(C // reduction, 1)`` values.
        norm_cfg: Config of the norm over the maps.
        init_cfg: mmengine's initialiser config.

    Raises:
        UsageError: If an option is out of its range, the fold does not divide C, or the
            image is smaller than a filter.
    """

    def __init__(
        self,
        channels: int,
        planes: int | None = None,
        streams: int = 2,
        filters: Sequence[Sequence[int]] = ((1, 1), (2, 1), (3, 3)),
        fold: int | dict[str, Any] | None = 16,
        maps: int | None = None,
        aggregate: str = 'map',
        reduction: int = 16,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = FC_INIT,
    ) -> None:
        super().__init__(init_cfg)
        if streams not in (1, 2):
            raise UsageError(f'streams must be 1 (residual) or 2 (residual and shortcut), got {streams!r}')
        if aggregate not in ('map', 'code'):
            raise UsageError(f"aggregate must be 'map' or 'code', got {aggregate!r}")
        maps = max((planes or channels) // 16, 1) if maps is None else positive_integer('maps', maps)
        kernels = _checked_kernels(filters)
        self.needs_shortcut = streams == 2
        self.image = InnerImage.fold(channels, streams, fold, max(height for height, _ in kernels))
        for kernel in kernels:
            _check_fits(kernel, self.image)

        hidden = hidden_width(channels, reduction)
        height, width = self.image.shape
        self.average_maps = aggregate == 'map' and len(kernels) > 1
        norm_cfg = norm_cfg or dict(type='BN')
        layer_config('norm_cfg', norm_cfg, "dict(type='BN')")
        self.filters = ModuleList(
            GroupingFilter(kernel, maps, self.average_maps, norm_cfg) for kernel in kernels
        )
        lengths = [(height - h + 1) * (width - w + 1) for h, w in kernels]
        if self.average_maps:
            lengths = [height * width]
        self.encoders = ModuleList(nn.Linear(length, hidden, bias=False) for length in lengths)
        self.decoder = nn.Linear(hidden, channels, bias=False)

    @property
    def last_layer(self) -> nn.Module:
        """See :attr:`Gate.last_layer`."""
        return self.decoder

    def excite(self, *means: Tensor) -> Tensor:
        """See :meth:`Gate.excite`."""
        image = self.image.render(means)
        if self._banks_are_one(image):
            maps = [condense(self.filters, image)]
        else:
            maps = [bank(image) for bank in self.filters]
            maps = [_average(maps)] if self.average_maps else maps
        codes = [F.relu(encode(m.flatten(1))) for encode, m in zip(self.encoders, maps, strict=True)]
        return torch.sigmoid(self.decoder(_average(codes)))[..., None, None]

    def _banks_are_one(self, image: Tensor) -> bool:
        """Whether the average of the banks' maps may be computed without calling each bank."""
        own = all(type(bank) is GroupingFilter for bank in self.filters)
        return self.average_maps and own and is_untouched(*self.filters) and collapses(self.filters, image)

    def extra_repr(self) -> str:
        """The image that this gate looks at."""
        height, width = self.image.shape
        return f'image={height}x{width}, streams={self.image.streams}, rows_per_stream={self.image.rows}'


class DoubleFC(Gate):
    """The double fully connected CMPE-SE gate (arXiv 1807.08920).

    ``g = sigmoid(W_e [relu(W_u u); relu(W_x x)])``, no biases.

    Args:
        channels: C of the two streams.
        reduction: Each stream's code has ``max(C // reduction, 1)`` values.
        init_cfg: mmengine's initialiser config.

    Raises:
        UsageError: If ``reduction`` is not a positive integer.
    """

    needs_shortcut = True

    def __init__(
        self, channels: int, reduction: int = 16, init_cfg: dict | list[dict] | None = FC_INIT
    ) -> None:
        super().__init__(init_cfg)
        hidden = hidden_width(channels, reduction)
        self.encoders = ModuleList(nn.Linear(channels, hidden, bias=False) for _ in range(2))
        self.decoder = nn.Linear(2 * hidden, channels, bias=False)

    @property
    def last_layer(self) -> nn.Module:
        """See :attr:`Gate.last_layer`."""
        return self.decoder

    def excite(self, *means: Tensor) -> Tensor:
        """See :meth:`Gate.excite`."""
        codes = [F.relu(encode(mean.flatten(1))) for encode, mean in zip(self.encoders, means, strict=True)]
        return torch.sigmoid(self.decoder(torch.cat(codes, dim=1)))[..., None, None]


CMPE_SE_FILTERS = {'pair_2x1': (2, 1), 'pair_1x1': (1, 1), 'folded_3x3': (3, 3)}
"""The grouping filter of each CMPE-SE view that has one."""


def cmpe_se(
    channels: int,
    planes: int | None = None,
    view: str = 'pair_1x1',
    reduction: int = 16,
    fold: int | dict[str, Any] | None = None,
    norm_cfg: dict[str, Any] | None = None,
) -> Gate:
    """Build a competitive squeeze-and-excitation gate (arXiv 1807.08920).

    Args:
        channels: C of the two streams.
        planes: See :class:`InnerImaging`.
        view: 'double_fc', or one of the inner-imaging views 'pair_2x1', 'pair_1x1', 'folded_3x3'.
        reduction: The code has ``max(C // reduction, 1)`` values (each of two in 'double_fc').
        fold: See :class:`InnerImaging`; only for 'folded_3x3', where the default is 16.
        norm_cfg: Config of the norm over the maps; 'double_fc' has none.

    Raises:
        UsageError: If ``view`` is unknown, an option does not belong to it, or the gate refuses it.
    """
    if view != 'folded_3x3' and fold is not None:
        raise UsageError(f"fold belongs to view='folded_3x3'; view={view!r} takes none")
    if view == 'double_fc':
        return DoubleFC(channels, reduction)
    if view not in list(CMPE_SE_FILTERS):
        raise UsageError(f'unknown CMPE-SE view {view!r}; choose from {["double_fc", *CMPE_SE_FILTERS]}')
    if view == 'folded_3x3' and fold is None:
        fold = 16
    filters = (CMPE_SE_FILTERS[view],)
    return InnerImaging(channels, planes, 2, filters, fold, reduction=reduction, norm_cfg=norm_cfg)


def _average(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(0)


def _checked_kernels(filters: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    valid = isinstance(filters, Sequence) and len(filters) > 0
    valid = valid and all(isinstance(f, Sequence) and len(f) == 2 for f in filters)
    if not valid or not all(isinstance(side, int) and side > 0 for f in filters for side in f):
        raise UsageError(f'filters must be (height, width) pairs such as ((1, 1), (2, 1)), got {filters!r}')
    return [(height, width) for height, width in filters]


def _check_fits(kernel: tuple[int, int], image: InnerImage) -> None:
    height, width = image.shape
    if kernel[0] > height or kernel[1] > width:
        raise UsageError(
            f'filter {kernel} is larger than the {height}x{width} inner image of {image.channels} channels; '
            f'filters of at most {height}x{width} fit, and fold=16 or two streams make the image taller'
        )
