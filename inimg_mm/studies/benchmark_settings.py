"""What a benchmark runs on, and how; what has no effect is refused."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from inimg_mm.errors import UsageError
from inimg_mm.launch.compiling import check_compiler
from inimg_mm.models.checks import positive_integer
from inimg_mm.models.fused import Fused, why_not

from .benchmark_nets import is_of_the_zoo

MODES = ('train', 'infer')
DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """How every net of a benchmark runs.

    Attributes:
        mode: 'train': forward and backward in training mode, without an optimizer, the loss being the sum of
            the maps' means; 'infer': forward in eval mode.
        norm_eval: Batch norms in eval mode while training, as mmdet's configs have them.
        channels_last: The layout of images and weights.
        compiler: A backend of ``torch.compile``; None for none.
        graph: Whether the whole step is captured in a CUDA graph.
        fused: The zoo models' ``fused``.
        dtype: A key of :data:`DTYPES`; under autocast unless 'float32'.
        rounds: How often each net is timed.
        warm_ups: Steps of each net before that.
        device: 'cpu' or 'cuda'.
    """

    mode: str = 'train'
    norm_eval: bool = False
    channels_last: bool = False
    compiler: str | None = None
    graph: bool = False
    fused: Fused = False
    dtype: str = 'float32'
    rounds: int = 10
    warm_ups: int = 2
    device: str = 'cpu'

    @property
    def layout(self) -> torch.memory_format:
        """torch's word for ``channels_last``."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


@dataclass(frozen=True)
class Point:
    """What the nets run on.

    Attributes:
        batch: Number of images.
        height: Of an image, in pixels.
        width: Of an image, in pixels.
        base_channels: Of zoo models; None for each one's own.
    """

    batch: int
    height: int
    width: int
    base_channels: int | None = None

    def __str__(self) -> str:
        channels = '' if self.base_channels is None else f', {self.base_channels} base channels'
        return f'{self.batch} x {self.height} x {self.width}{channels}'


def points_of(
    batches: Sequence[int], sizes: Sequence[tuple[int, int]], widths: Sequence[int] = ()
) -> list[Point]:
    """The points of a benchmark: the first of each, then each further one with the first of the others.

    Args:
        batches: Numbers of images.
        sizes: Height and width of images.
        widths: Base channels of zoo models; none for their own.

    Raises:
        UsageError: If one is not a positive integer.
    """
    channels: Sequence[int | None] = widths or [None]
    found = [Point(batches[0], *sizes[0], channels[0])]
    found += [Point(batches[0], *size, channels[0]) for size in sizes[1:]]
    found += [Point(batch, *sizes[0], channels[0]) for batch in batches[1:]]
    found += [Point(batches[0], *sizes[0], each) for each in channels[1:]]
    for point in found:
        for name, value in dict(vars(point)).items():
            if value is not None:
                positive_integer({'base_channels': 'each of --widths'}.get(name, name), value)
    return list(dict.fromkeys(found))


def check_settings(settings: Settings, names: Sequence[str]) -> None:
    """Refuse what has no effect, or cannot work here.

    Raises:
        UsageError: With the reason.
    """
    positive_integer('--rounds', settings.rounds)
    positive_integer('--warm-ups', settings.warm_ups)
    if settings.norm_eval and settings.mode == 'infer':
        raise UsageError('--norm-eval has no effect with --mode infer, where all norms are in eval mode')
    if settings.device == 'cpu' and settings.dtype == 'float16':
        raise UsageError('--dtype float16 needs a GPU; a CPU has bfloat16')
    if settings.graph and settings.device != 'cuda':
        raise UsageError('--graph captures a CUDA graph, and there is no GPU here')
    if settings.graph and settings.compiler:
        raise UsageError('--graph captures the uncompiled step: leave out --compile')
    if settings.compiler:
        check_compiler(settings.compiler)
    if settings.fused is not False:
        if settings.compiler:
            raise UsageError(
                '--fused has no effect with --compile, under which blocks take their plain formulas'
            )
        if not any(map(is_of_the_zoo, names)):
            raise UsageError('--fused is of zoo models, and --models names none')
        maps = torch.empty(1, 8, 4, 4, dtype=DTYPES[settings.dtype], device=settings.device)
        reason = why_not(settings.fused, maps.to(memory_format=settings.layout))
        if reason is not None:
            raise UsageError(f'--fused has no effect here: {reason}')
