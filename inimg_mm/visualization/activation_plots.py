"""One picture for each image: several nets below each other, and what they look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from inimg_mm.data_files.image_files import UnreadableImage
from inimg_mm.data_files.picture_names import picture_paths
from inimg_mm.inference.images import find_images
from inimg_mm.output_files import check_folder

from .activation_maps import Maps, Viewed
from .plots import new_figure, save

COLOURS = 'inferno'
OPACITY = 0.6


class Panel(NamedTuple):
    """A part of the picture.

    Attributes:
        title: Above it.
        picture: RGB, (H, W, 3).
        values: What lies over it, (h, w); None for the picture alone.
        unit: Of the values.
        span: Their least and greatest colour; None for their own.
        box: Left, top, right, bottom.
    """

    title: str
    picture: np.ndarray
    values: np.ndarray | None = None
    unit: str = ''
    span: tuple[float, float] | None = (0.0, 1.0)
    box: list[float] | None = None


def plot_activations(
    nets: Sequence[Viewed], sources: Sequence[str | Path], out_dir: str | Path, wanted: str | None = None
) -> tuple[list[Path], dict[Path, str]]:
    """Draw where nets look, a PNG for each image.

    Args:
        nets: The nets.
        sources: Files, folders and patterns, see :func:`.find_images`.
        out_dir: Folder of the pictures.
        wanted: Name of the class that is looked for. Default: what each net thinks most likely.

    Returns:
        The pictures, and the images that could not be read, each with the reason.

    Raises:
        UsageError: If there is no image, a net knows no such class, or a picture cannot be written.
    """
    out_dir = Path(out_dir).absolute()
    images = find_images(sources, leave_out=out_dir)
    paths = picture_paths(images, out_dir)
    check_folder(out_dir)
    drawn, unreadable = [], {}
    for image, path in track(list(zip(images, paths, strict=True)), 'looking', console=Console(stderr=True)):
        try:
            maps = [net.look(image, wanted) for net in nets]
        except UnreadableImage as error:
            unreadable[image] = str(error)
            continue
        path = path if path.suffix == '.png' else path.with_name(f'{path.name}.png')
        check_folder(path.parent)
        names = [net.name for net in nets]
        drawn.append(save(_figure(image.name, names, maps), path))
    return drawn, unreadable


def _figure(title: str, names: Sequence[str], maps: Sequence[Maps]) -> Any:
    rows = [_panels(name, each) for name, each in zip(names, maps, strict=True)]
    figure, axes = new_figure(len(rows), max(map(len, rows)), 3.0, 3.0, title)
    for row, panels in zip(axes, rows, strict=True):
        for axis in row:
            axis.set_axis_off()
        for axis, panel in zip(row, panels, strict=False):
            _draw(figure, axis, panel)
    return figure


def _panels(name: str, maps: Maps) -> list[Panel]:
    """The parts of a net's row."""
    panels = [Panel(f'{name}\n{maps.caption}', maps.picture, box=maps.box)]
    if maps.cam is not None:
        panels.append(Panel('Grad-CAM', maps.picture, maps.cam, 'weight over the greatest', box=maps.box))
    if maps.places is not None and maps.whole is not None:
        panels.append(Panel('head at every place', maps.whole, maps.places, 'probability'))
    for stage, values in maps.calibration.items():
        panels.append(Panel(f'calibration, {stage}', maps.picture, values, 'mean σ over channels', None))
    return panels


def _draw(figure: Any, axis: Any, panel: Panel) -> None:
    from matplotlib.patches import Rectangle

    height, width = panel.picture.shape[:2]
    extent = (0, width, height, 0)
    axis.set_title(panel.title, fontsize=8)
    axis.imshow(panel.picture, extent=extent)
    if panel.values is not None:
        low, high = panel.span or (None, None)
        over = axis.imshow(
            panel.values, COLOURS, alpha=OPACITY, extent=extent, interpolation='nearest', vmin=low, vmax=high
        )
        bar = figure.colorbar(over, ax=axis, shrink=0.75)
        bar.set_label(panel.unit, fontsize=7)
        bar.ax.tick_params(labelsize=7)
    if panel.box is not None:
        left, top, right, bottom = panel.box
        for colour, line in (('black', 3.0), ('white', 1.2)):
            size = (right - left, bottom - top)
            axis.add_patch(Rectangle((left, top), *size, fill=False, edgecolor=colour, linewidth=line))
