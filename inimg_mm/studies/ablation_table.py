"""What came out of an ablation: mean, deviation, and differences of runs with the same seed."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from inimg_mm.errors import UsageError
from inimg_mm.output_files import csv_line

from .ablation import Run
from .ablation_grid import Cell, varied
from .demo_report import METRICS

CONFIDENCE = 0.95


class Difference(NamedTuple):
    """A cell against the baseline, by seed: mean of the differences, and half the width of its interval."""

    mean: float
    margin: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.margin is not None and abs(self.mean) > self.margin


@dataclass
class Row:
    """A cell of the table.

    Attributes:
        cell: The cell.
        values: The metric by seed.
        images: How many images the test set has.
        difference: To the baseline; None for itself, and where no seed is in both.
    """

    cell: Cell
    values: dict[int, float] = field(default_factory=dict)
    images: int = 0
    difference: Difference | None = None

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None of one."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


def summarise(runs: Sequence[Run], metric: str | None = None) -> tuple[str, list[Row]]:
    """Put the finished runs into rows, the baseline first.

    Args:
        runs: Of :func:`.ablate`.
        metric: What is compared. Default: the first of :data:`.METRICS` that the tests gave, or of all.

    Returns:
        The metric's name, and the rows of the cells that have a finished run.

    Raises:
        UsageError: If nothing is finished, or the tests gave no such metric.
    """
    done = [(run, result) for run in runs if (result := run.result) is not None]
    if not done:
        raise UsageError('no training of the grid is finished')
    given = list(done[0][1]['metrics'])
    metric = metric or next((name for name in METRICS if name in given), given[0] if given else None)
    rows: dict[str, Row] = {run.cell.name: Row(run.cell) for run in runs}
    for run, result in done:
        value = result['metrics'].get(metric)
        if value is None:
            raise UsageError(f'the test of {run.folder} gave no {metric!r}; it gave {", ".join(given)}')
        row = rows[run.cell.name]
        row.values[run.seed], row.images = value, result['images']
    first, *others = rows.values()
    for row in others:
        row.difference = difference(row.values, first.values)
    assert metric is not None
    return metric, [row for row in rows.values() if row.values]


def difference(values: dict[int, float], baseline: dict[int, float]) -> Difference | None:
    """Compare runs with the same seed: mean difference, and the margin of its interval by Student's t.

    Returns:
        None without a common seed; without a margin where there is only one.
    """
    steps = [values[seed] - baseline[seed] for seed in values if seed in baseline]
    if not steps:
        return None
    if len(steps) < 2:
        return Difference(steps[0], None)
    from scipy.stats import t

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(steps) - 1))
    return Difference(statistics.fmean(steps), quantile * statistics.stdev(steps) / math.sqrt(len(steps)))


def markdown(metric: str, rows: Sequence[Row]) -> str:
    """The table, and how it is to be read."""
    name = METRICS.get(metric, metric)
    lines = [
        f'| cell | parameters | multiply-adds | seeds | {name} | difference to {rows[0].cell.name} |',
        '| --- | ---: | ---: | ---: | ---: | ---: |',
    ]
    for row in rows:
        macs = '–' if row.cell.macs is None else f'{row.cell.macs / 1e6:.2f} M'
        spread = '' if row.deviation is None else f' ± {row.deviation:.3f}'
        size = f'{row.cell.params / 1e6:.3f} M'
        cells = [
            row.cell.name,
            size,
            macs,
            str(len(row.values)),
            f'{row.mean:.3f}{spread}',
            _shown(row.difference),
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join([*lines, '', *_reading(metric, rows)])


def _shown(found: Difference | None) -> str:
    if found is None:
        return '–'
    if found.margin is None:
        return f'{found.mean:+.3f}'
    low, high = found.mean - found.margin, found.mean + found.margin
    return f'{found.mean:+.3f} [{low:+.3f}, {high:+.3f}]{" *" if found.is_clear else ""}'


def _reading(metric: str, rows: Sequence[Row]) -> Iterator[str]:
    yield (
        'Mean ± standard deviation over the seeds; differences of runs with the same seed, and a '
        f'{CONFIDENCE:.0%} interval of their mean (Student). * marks an interval without 0: of many cells, '
        'some are so by chance.'
    )
    if metric.startswith('accuracy/') and (images := rows[0].images):
        share = min(max(rows[0].mean / 100, 0.0), 1.0)
        error = 100 * math.sqrt(share * (1 - share) / images)
        yield (
            f'The test set has {images} images: the choice of them alone gives {rows[0].mean:.1f} % a '
            f'standard error of {error:.2f} points, however many seeds: effects much smaller do not show.'
        )


def csv_lines(runs: Sequence[Run]) -> Iterator[str]:
    """A line for each finished run: its cell, seed, sizes, all metrics, seconds."""
    done = [(run, result) for run in runs if (result := run.result) is not None]
    keys = varied([run.cell for run, _ in done])
    metrics = list(dict.fromkeys(name for _, result in done for name in result['metrics']))
    yield csv_line(['cell', 'seed', *keys, 'parameters', 'multiply_adds', 'test_images', *metrics, 'seconds'])
    for run, result in done:
        values = [run.cell.values.get(key) for key in keys]
        found = [result['metrics'].get(name, '') for name in metrics]
        sizes = [run.cell.params, '' if run.cell.macs is None else run.cell.macs, result['images']]
        yield csv_line([run.cell.name, run.seed, *values, *sizes, *found, result['seconds']])
