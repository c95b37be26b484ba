"""The plot of an ablation: what the parameters of each cell buy."""

from collections.abc import Sequence
from pathlib import Path

from inimg_mm.studies.ablation_table import Row
from inimg_mm.studies.demo_report import METRICS

from .plots import COLOURS, MARKERS, new_figure, save


def plot_ablation(metric: str, rows: Sequence[Row], path: Path, title: str) -> Path:
    """Draw each cell: parameters on the x axis, mean and standard deviation over the seeds on the y axis.

    Args:
        metric: Name of what is drawn.
        rows: From :func:`inimg_mm.studies.ablation_table.summarise`, the baseline first.
        path: The PNG to write; its folder exists.
        title: Above the plot.

    Returns:
        ``path``.

    Raises:
        UsageError: If it cannot be written.
    """
    figure, axes = new_figure(1, 1, 8.0, 4.8, title)
    panel = axes[0, 0]
    for number, row in enumerate(rows):
        panel.errorbar(
            row.cell.params / 1e6,
            row.mean,
            yerr=row.deviation,
            label=f'{row.cell.name} (n={len(row.values)})',
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[(number + number // len(MARKERS)) % len(MARKERS)],
            markersize=7,
            linestyle='none',
            capsize=4,
        )
    panel.axhline(rows[0].mean, color='black', linewidth=0.7, linestyle=':')
    panel.set_xlabel('parameters of the model (millions)')
    panel.set_ylabel(f'{METRICS.get(metric, metric)}\nmean ± standard deviation over seeds')
    panel.grid(alpha=0.3)
    panel.margins(0.08)
    figure.legend(
        loc='outside right upper', fontsize=8, title=f'dotted: {rows[0].cell.name}', title_fontsize=8
    )
    return save(figure, path)
