"""How every plot looks: opaque white, colours and lines that differ in print and to the colour-blind."""

from pathlib import Path
from typing import Any

import numpy as np

from inimg_mm.errors import UsageError
from inimg_mm.output_files import replacing

COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#7F3C8D', '#4D4D4D')
"""Okabe's and Ito's, without yellow."""
LINES = ('-', '--', '-.', ':')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')


def look(index: int) -> dict[str, Any]:
    """Colour and kind of line number ``index``."""
    return dict(color=COLOURS[index % len(COLOURS)], linestyle=LINES[index % len(LINES)])


def new_figure(rows: int, columns: int, width: float, height: float, title: str) -> tuple[Any, np.ndarray]:
    """A figure of panels, without matplotlib's global state.

    Args:
        rows: Of panels.
        columns: Of panels.
        width: Of a panel, in inches.
        height: Of a panel, in inches.
        title: Above all of them.

    Returns:
        The figure, and its axes: (rows, columns).

    Raises:
        UsageError: If matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    size = (width * columns, height * rows + 0.5)
    figure = Figure(figsize=size, dpi=150, facecolor='white', layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in axes.flat:
        panel.set_facecolor('white')
    figure.suptitle(title)
    return figure, axes


def check_matplotlib() -> None:
    """Raise a :class:`UsageError` if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("plots need matplotlib: pip install 'inimg-mm[demo]'") from error


def save(figure: Any, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all.

    Raises:
        UsageError: If it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, format='png', facecolor='white')
    except OSError as error:
        raise UsageError(f'cannot write {path}: {error.strerror or error}') from error
    return path
