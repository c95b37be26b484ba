"""The inner image: the streams' means laid out as a one-channel picture."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from inimg_mm.errors import UsageError
from inimg_mm.models.checks import positive_integer


@dataclass(frozen=True)
class InnerImage:
    """How the means of one or two streams of C channels become an image.

    Each stream is cut into ``rows`` rows of ``width`` channels, and the rows of two
    streams interleave: residual row 0, shortcut row 0, residual row 1, … Where the
    rows hold more than C values, the end of each stream's last row is zero.

    Attributes:
        channels: C.
        streams: 1 (residual) or 2 (residual, shortcut).
        rows: Rows per stream; 1 for an unfolded image.
        width: Channels per row.
    """

    channels: int
    streams: int
    rows: int
    width: int

    @classmethod
    def fold(
        cls, channels: int, streams: int, fold: int | dict[str, Any] | None, min_height: int
    ) -> 'InnerImage':
        """Lay out C channels.

        Args:
            channels: C.
            streams: 1 or 2.
            fold: None for one row per stream; k or ``dict(width=k, pad=False)`` for rows of k
                channels, which must divide C unless ``pad`` allows zeros at the end of the last
                row; ``dict(rows=n)`` for n rows of C / n channels.
            min_height: Rows that the tallest filter needs. A folded image with fewer has its
                width halved until it has them.

        Raises:
            UsageError: If ``fold`` has another form or does not divide C.
        """
        if fold is None:
            return cls(channels, streams, 1, channels)
        width, pad = _row_width(channels, fold)
        while streams * -(-channels // width) < min_height and width > 1:
            width //= 2
        if channels % width and not pad:
            raise UsageError(
                f'fold={fold!r} does not divide {channels} channels; widths that do: {_divisors(channels)}, '
                f'or write fold=dict(width={width}, pad=True) to fill the last row with zeros'
            )
        return cls(channels, streams, -(-channels // width), width)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.streams * self.rows, self.width

    def render(self, means: tuple[Tensor, ...]) -> Tensor:
        """Draw the image.

        Args:
            means: One tensor of shape (N, C, 1, 1) per stream, the residual's first.

        Returns:
            (N, 1, height, width).
        """
        image = torch.stack([mean.flatten(1) for mean in means], dim=1)
        image = F.pad(image, (0, self.rows * self.width - self.channels))
        image = image.unflatten(2, (self.rows, self.width)).transpose(1, 2)
        return image.flatten(1, 2).unsqueeze(1)


def _row_width(channels: int, fold: int | dict[str, Any]) -> tuple[int, bool]:
    """The width that ``fold`` asks for, and whether the last row may be padded."""
    spec = dict(width=fold) if isinstance(fold, int) else fold
    if not isinstance(spec, dict) or not (
        set(spec) <= {'width', 'pad'} and 'width' in spec or set(spec) == {'rows'}
    ):
        raise UsageError(
            f'fold must be None, a width such as 16, dict(width=16, pad=True) or dict(rows=10), got {fold!r}'
        )
    for key in ('width', 'rows'):
        if key in spec:
            positive_integer(f'the {key} of a fold', spec[key])
    if 'width' in spec:
        return spec['width'], bool(spec.get('pad', False))
    if channels % spec['rows']:
        raise UsageError(
            f'fold={fold!r} does not divide {channels} channels; rows that do: {_divisors(channels)}'
        )
    return channels // spec['rows'], False


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
