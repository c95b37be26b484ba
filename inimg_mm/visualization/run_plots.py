"""Learning curves of several trainings."""

from collections.abc import Sequence
from pathlib import Path

from inimg_mm.studies.demo_report import METRICS
from inimg_mm.studies.runs import RunLog

from .plots import MARKERS, look, new_figure, save


def plot_runs(runs: Sequence[RunLog], metrics: Sequence[str], path: Path) -> Path:
    """Draw the losses over the iterations, and each metric over the validations.

    Args:
        runs: From :func:`inimg_mm.studies.runs.read_runs`.
        metrics: Names of the metrics.
        path: The PNG to write; its folder exists.

    Returns:
        ``path``.

    Raises:
        UsageError: If it cannot be written.
    """
    count = 1 + len(metrics)
    columns = min(count, 3)
    figure, axes = new_figure(-(-count // columns), columns, 5.2, 3.6, 'Learning curves')
    for panel in axes.flat[count:]:
        panel.set_axis_off()
    for number, run in enumerate(runs):
        style = look(number)
        steps = sorted(run.loss)
        label = f'{run.name} ({run.state})'
        axes.flat[0].plot(steps, [run.loss[step] for step in steps], label=label, linewidth=1.0, **style)
        for panel, name in zip(axes.flat[1:], metrics, strict=False):
            curve = run.metrics.get(name, {})
            steps = sorted(curve)
            mark = MARKERS[number % len(MARKERS)]
            panel.plot(steps, [curve[step] for step in steps], marker=mark, markersize=4, **style)
    axes.flat[0].set_title('training loss', fontsize=10)
    axes.flat[0].set_xlabel('iteration')
    axes.flat[0].set_ylabel('loss')
    unit = ' or '.join(sorted({run.unit for run in runs}))
    for panel, name in zip(axes.flat[1:], metrics, strict=False):
        panel.set_title(f'validation: {name}', fontsize=10)
        panel.set_xlabel(unit)
        panel.set_ylabel(METRICS.get(name, name))
        panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in axes.flat[:count]:
        panel.grid(alpha=0.3)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=min(len(runs), 2), fontsize=8)
    return save(figure, path)
