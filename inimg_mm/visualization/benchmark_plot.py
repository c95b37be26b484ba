"""The plot of a benchmark: what nets cost as images, batches or widths grow."""

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from statistics import median

from inimg_mm.studies.benchmark_settings import Point
from inimg_mm.studies.benchmark_steps import Result

from .plots import MARKERS, look, new_figure, save

AXES: dict[str, Callable[[Point], tuple[int, ...]]] = {
    'image, by its pixels': lambda point: (point.height, point.width),
    'images in a batch': lambda point: (point.batch,),
    'base channels': lambda point: (point.base_channels or 0,),
}
"""What can grow: by the product of these numbers."""


def plot_benchmark(results: Sequence[Result], path: Path, title: str) -> Path | None:
    """Draw each net's time for an image, its ratio to the first, and the same of bytes kept for backward.

    Args:
        results: Of all points, the first point first; in each the net to compare with first.
        path: The PNG to write; its folder exists.
        title: Above the plot.

    Returns:
        ``path``; None where nothing grows, and so nothing is drawn.

    Raises:
        UsageError: If it cannot be written.
    """
    base = results[0].point
    axes = {name: line for name in AXES if len(line := _along(name, results, base)) > 1}
    if not axes:
        return None
    number = sum(result.point == base for result in results)
    first = results[0].name
    rows: list[tuple[str, Callable[[Result, Result], float]]] = [
        ('ms for an image', lambda mine, its: 1000 * mine.median / mine.point.batch),
        (f'time over {first}', lambda mine, its: median(mine.ratios)),
    ]
    if results[0].kept_bytes is not None:
        rows.append(
            (
                f'kept for backward\nover {first}',
                lambda mine, its: (mine.kept_bytes or 0) / (its.kept_bytes or 1),
            )
        )
    figure, panels = new_figure(len(rows), len(axes), 5.2, 2.9, title)
    for column, (name, groups) in enumerate(axes.items()):
        for row, (label, value) in enumerate(rows):
            panel = panels[row, column]
            for index in range(number):
                x = [prod(AXES[name](group[0].point)) for group in groups]
                y = [value(group[index], group[0]) for group in groups]
                style = dict(look(index), marker=MARKERS[index % len(MARKERS)], markersize=5)
                panel.plot(x, y, label=groups[0][index].name, **style)
            panel.set_xscale('log')
            panel.set_xticks(x, ['x'.join(map(str, AXES[name](group[0].point))) for group in groups])
            panel.minorticks_off()
            panel.set_ylabel(label, fontsize=9)
            panel.grid(alpha=0.3)
        panels[-1, column].set_xlabel(name)
        panels[0, column].set_ylim(bottom=0)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=min(number, 3), fontsize=8)
    return save(figure, path)


def _along(name: str, results: Sequence[Result], base: Point) -> list[list[Result]]:
    """The points that differ from the first in nothing but one thing, by that: each one's results."""
    groups: dict[Point, list[Result]] = {}
    for result in results:
        others = (axis for axis in AXES if axis != name)
        if all(AXES[axis](result.point) == AXES[axis](base) for axis in others):
            groups.setdefault(result.point, []).append(result)
    return sorted(groups.values(), key=lambda group: prod(AXES[name](group[0].point)))
