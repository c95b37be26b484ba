"""Time nets against each other, in rounds in which each takes a step after the other.

Load on the machine moves the time of a step by far more than what nets differ by; it moves those of one round
alike. So each step is compared with the first net's of the same round.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from inimg_mm.errors import UsageError

from .benchmark_nets import build_net, is_of_the_zoo
from .benchmark_settings import Point, Settings, check_settings
from .benchmark_steps import Result, prepare, timed
from .progress import progress_bar


def benchmark(names: Sequence[str], points: Sequence[Point], settings: Settings) -> Iterator[list[Result]]:
    """Measure nets at some points; what cannot be built is found before anything is timed.

    Args:
        names: Of the nets, see :mod:`.benchmark_nets`; the first is what the others are compared with.
        points: What they run on.
        settings: How.

    Yields:
        The results of a point, in the order of ``names``.

    Raises:
        UsageError: If a net cannot be built or run, or memory is short.
    """
    check_settings(settings, names)
    with torch.device('meta'):  # shapes alone, which take no time
        for base_channels in {point.base_channels for point in points} - {None}:
            for name in names:
                build_net(name, base_channels)
    torch.backends.cudnn.benchmark = settings.device == 'cuda'
    made = {points[0]: _nets(names, points[0], settings)}
    parts = (1 + settings.warm_ups + settings.rounds) * len(names) * len(points)
    with progress_bar('benchmark', parts) as (progress, task):
        for point in points:

            def advance(name: str, point: Point = point) -> None:
                progress.update(task, advance=1, description=f'{point}: {name}')

            nets = made.pop(point, None) or _nets(names, point, settings)
            yield _measure(names, nets, point, settings, advance)


def _nets(names: Sequence[str], point: Point, settings: Settings) -> list[nn.Module]:
    return [
        build_net(name, point.base_channels, settings.fused if is_of_the_zoo(name) else False)
        for name in names
    ]


def _measure(
    names: Sequence[str],
    nets: Sequence[nn.Module],
    point: Point,
    settings: Settings,
    advance: Callable[[str], None],
) -> list[Result]:
    results: list[Result] = []
    timers: list[Callable[[], float]] = []
    for name, net in zip(names, nets, strict=True):
        try:
            result, step = prepare(net, name, point, settings)
        except UsageError:
            raise
        except torch.cuda.OutOfMemoryError as error:
            raise UsageError(
                f'{name} does not fit into the GPU at {point}, beside those before it'
            ) from error
        except (RuntimeError, ValueError) as error:
            text = ' '.join(str(error).split())
            raise UsageError(f'{name} cannot run {point}: {text}') from error
        results.append(result)
        timers.append(lambda step=step: timed(step, settings.device))  # type: ignore[misc]
        advance(name)
    in_rounds(timers, settings.warm_ups, lambda index, seconds: advance(names[index]))

    def note(index: int, seconds: float) -> None:
        results[index].seconds.append(seconds)
        advance(names[index])

    in_rounds(timers, settings.rounds, note)
    for result in results:
        result.ratios = [mine / first for mine, first in zip(result.seconds, results[0].seconds, strict=True)]
    return results


def in_rounds(timers: Sequence[Callable[[], float]], rounds: int, note: Callable[[int, float], None]) -> None:
    """Call every timer once in each round, and hand its number and its seconds to ``note``."""
    for _ in range(rounds):
        for index, timer in enumerate(timers):
            note(index, timer())
