"""Plots of channel gates: by channel in the last block of each stage, and by depth (arXiv 1904.12639)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inimg_mm.errors import UsageError
from inimg_mm.output_files import check_folder, csv_line, write_text

from .gate_values import ALL, HIGH, LOW, Depth, Net, figures, over_all, stage_of
from .plots import COLOURS, MARKERS, look, new_figure, save

TITLES = {
    'mean': 'mean over images and channels',
    'spread': 'standard deviation over images',
    'oscillation': 'oscillation: mean |g(c+1) - g(c)|',
    'saturated': f'share below {LOW} or above {HIGH}',
}


def plot_gates(nets: Sequence[Net], out_dir: str | Path, channels: int = 50, seed: int = 0) -> list[Path]:
    """Draw the nets' gates over each other, and write down what is drawn.

    Args:
        nets: From :func:`.gate_values`.
        out_dir: Folder of ``gates.png``, ``gates.csv``, ``depth.png`` and ``depth.csv``.
        channels: How many channels are drawn of each gate; all of a gate that has fewer.
        seed: Of which channels.

    Returns:
        The four files.

    Raises:
        UsageError: If there are less than two channels, or a file cannot be written.
    """
    if channels < 2:
        raise UsageError(f'a curve over channels has at least 2 of them, not {channels}')
    out_dir = check_folder(out_dir)
    files = [out_dir / name for name in ('gates.csv', 'depth.csv')]
    write_text(files[0], _table(['net', 'stage', 'block', 'class', 'channel', 'gate'], _curves(nets)))
    columns = ['net', 'kind', 'stage', 'block', 'depth', 'channels', *Depth._fields]
    write_text(files[1], _table(columns, _depths(nets)))
    return [
        save(_channel_figure(nets, channels, seed), out_dir / 'gates.png'),
        save(_depth_figure(nets), out_dir / 'depth.png'),
        *files,
    ]


def _channel_figure(nets: Sequence[Net], channels: int, seed: int) -> Any:
    stages = list(dict.fromkeys(stage for net in nets for stage in net.last_of_stages()))
    title = 'Channel gates in the last block of each stage' + (f': {nets[0].name}' if len(nets) == 1 else '')
    figure, axes = new_figure(len(stages), 1, 8.5, 2.6, title)
    for panel, stage in zip(axes[:, 0], stages, strict=True):
        blocks = []
        for number, net in enumerate(nets):
            block = net.last_of_stages().get(stage)
            if block is not None:
                blocks.append(f'{net.name}: {block}' if len(nets) > 1 else block)
                _draw_channels(panel, net, block, number if len(nets) > 1 else None, channels, seed)
        panel.set_title('; '.join(blocks), fontsize=9)
        panel.set_xlabel(f'channel (number among those drawn from seed {seed}, in order)')
        panel.set_ylabel('gate')
        panel.grid(alpha=0.3)
    handles = {
        label: handle
        for panel in axes.flat
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    columns = min(len(handles), 3 if len(nets) > 1 else 5)
    figure.legend(handles.values(), handles, loc='outside lower center', ncols=columns, fontsize=8)
    return figure


def _draw_channels(panel: Any, net: Net, block: str, number: int | None, channels: int, seed: int) -> None:
    """The curves of one gate; among several nets (``number`` is not None) all in the net's colour."""
    values = net.values[block]
    width = values.shape[1]
    drawn = np.sort(np.random.default_rng(seed).permutation(width)[:channels])
    places = np.arange(1, len(drawn) + 1)
    for index, (name, rows) in enumerate(net.groups.items()):
        curve = values[rows][:, drawn].mean(0)
        mean = name == ALL
        style = look(index) if number is None else look(number)
        if number is None and mean:
            style = dict(color='black', linestyle='-')
        label = f'{net.name}: {"mean of all" if mean else "a class"}' if number is not None else name
        panel.plot(
            places,
            curve,
            label=f'mean of {ALL}' if number is None and mean else label,
            linewidth=1.8 if mean else 0.9,
            alpha=1.0 if mean or number is None else 0.35,
            **style,
        )


def _depth_figure(nets: Sequence[Net]) -> Any:
    figure, axes = new_figure(2, 2, 5.2, 3.0, 'Channel gates by depth')
    for panel, (key, title) in zip(axes.flat, TITLES.items(), strict=True):
        for number, net in enumerate(nets):
            heights = [getattr(figures(over_all(net, block)), key) for block in net.values]
            panel.plot(
                range(1, len(heights) + 1),
                heights,
                label=net.name,
                marker=MARKERS[number % len(MARKERS)],
                markersize=4,
                linewidth=1.2,
                **look(number),
            )
        stages = [stage_of(block) for block in nets[0].values]
        for place in range(1, len(stages)):
            if stages[place] != stages[place - 1]:
                panel.axvline(place + 0.5, color=COLOURS[-1], linewidth=0.6, linestyle=':')
        panel.set_title(title, fontsize=9)
        panel.set_xlabel('gated block, from the input (dotted: a stage ends)')
        panel.set_ylabel('share' if key == 'saturated' else 'gate')
        if key == 'saturated':
            panel.set_ylim(-0.02, 1.02)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=min(len(nets), 3), fontsize=8)
    return figure


def _curves(nets: Sequence[Net]) -> Iterator[list[Any]]:
    """A row for each channel of the last gate of each stage and each class."""
    for net in nets:
        for stage, block in net.last_of_stages().items():
            for name, rows in net.groups.items():
                for channel, value in enumerate(net.values[block][rows].mean(0)):
                    yield [net.name, stage, block, name, channel, f'{value:.6f}']


def _depths(nets: Sequence[Net]) -> Iterator[list[Any]]:
    """A row for each gate."""
    for net in nets:
        for depth, block in enumerate(net.values, 1):
            values = over_all(net, block)
            found = (f'{value:.6f}' for value in figures(values))
            yield [net.name, net.kinds[block], stage_of(block), block, depth, values.shape[1], *found]


def _table(head: Sequence[str], rows: Iterator[list[Any]]) -> Iterator[str]:
    """The lines of a CSV file."""
    return map(csv_line, (head, *rows))
