"""What a benchmark found as a table and as JSON, and the machine that it ran on."""

import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

from .benchmark_counts import KINDS, total
from .benchmark_settings import Point, Settings
from .benchmark_steps import Result

PACKAGES = ('torchvision', 'triton', 'timm', 'pytorchcv', 'mmdet', 'mmpretrain', 'mmpose', 'mmseg')
"""Whose versions are told, where they are installed; the hosts' by the names of their forks, too."""
FORKS = {'mmdet': 'onedl-mmdetection', 'mmpretrain': 'onedl-mmpretrain', 'mmseg': 'onedl-mmsegmentation'}


def machine(device: str) -> dict[str, Any]:
    """What the numbers depend on besides the nets; the load is now's, the means of 1, 5 and 15 minutes."""
    facts: dict[str, Any] = dict(
        processor=_processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        system=platform.platform(),
        python=platform.python_version(),
        versions={'torch': torch.__version__}
        | {name: found for name in PACKAGES if (found := _version(name))},
        load=[os.getloadavg()],
        card=None,
    )
    if device == 'cuda':
        card = torch.cuda.get_device_properties(0)
        facts['card'] = f'{card.name}, {card.total_memory / 2**30:.0f} GiB'
        facts['versions'] |= dict(cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version())
    return facts


def machine_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    processor = f'{facts["processor"]}, {facts["cores"]} cores, {facts["system"]}'
    yield f'machine: {facts["card"] or "no GPU"}; {processor}'
    names = ', '.join(f'{name} {found}' for name, found in facts['versions'].items())
    yield f'threads: {facts["threads"]}; Python {facts["python"]}, {names}'
    loads = ['/'.join(f'{each:.1f}' for each in load) for load in facts['load']]
    yield f'load, means of 1/5/15 minutes: {" at the start, ".join(loads)}{" at the end" * (len(loads) > 1)}'


def _processor() -> str:
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    named = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(named, platform.processor() or platform.machine())


def _version(name: str) -> str | None:
    for package in (name, FORKS.get(name, name)):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None


def command_line() -> str:
    """How this process was called."""
    return shlex.join(['python', *sys.argv])


def record(
    command: str, facts: dict[str, Any], settings: Settings, results: Sequence[Result]
) -> dict[str, Any]:
    """All that was found, for JSON; times are in seconds."""
    found = []
    for result in results:
        ratios = _quartiles(result.ratios)
        summary: dict[str, Any] = dict(
            median=result.median,
            minimum=min(result.seconds),
            spread=_spread(result.seconds),
            ratio=ratios[1],
            ratio_quartiles=ratios,
            kernels=result.kernels and {kind: kernels._asdict() for kind, kernels in result.kernels.items()},
        )
        found.append(asdict(result) | summary)
    return dict(command=command, machine=facts, settings=asdict(settings), results=found)


def table(point: Point, settings: Settings, results: Sequence[Result]) -> str:
    """A point's results in Markdown: a row a net."""
    columns = ['net', 'gives', 'median, ms', 'minimum', 'spread', 'ratio', 'its quartiles']
    columns += ['parameters, M', 'GFLOPs an image']
    columns += ['kept for backward, MiB', 'ratio'] if settings.mode == 'train' else []
    columns += ['parts fused'] if any(result.fused_parts for result in results) else []
    on_gpu = any(result.kernels for result in results)
    columns += (
        ['peak, MiB', 'ratio', 'kernels, ms', 'ratio', 'launches', *(f'{k}, ms' for k in KINDS)]
        if on_gpu
        else []
    )
    return '\n'.join(
        [
            f'**{point}**',
            '',
            f'| {" | ".join(columns)} |',
            f'| --- | --- |{" ---: |" * (len(columns) - 2)}',
            *(f'| {" | ".join(_row(result, results[0], columns))} |' for result in results),
        ]
    )


def _row(result: Result, first: Result, columns: Sequence[str]) -> Iterator[str]:
    low, middle, high = _quartiles(result.ratios)
    yield result.name
    yield _shape(result.outputs)
    yield f'{1000 * result.median:.1f}'
    yield f'{1000 * min(result.seconds):.1f}'
    yield f'{_spread(result.seconds):.0%}'
    yield f'{middle:.3f}'
    yield f'{low:.3f}–{high:.3f}'
    yield f'{result.params / 1e6:.2f}'
    yield f'{result.flops / 1e9:.2f}'
    if result.kept_bytes is not None and first.kept_bytes is not None:
        yield f'{result.kept_bytes / 2**20:.1f}'
        yield f'{result.kept_bytes / first.kept_bytes:.3f}'
    if 'parts fused' in columns:
        yield '–' if result.fused_parts is None else '{} of {}'.format(*result.fused_parts)
    if result.kernels and first.kernels and result.peak_bytes and first.peak_bytes:
        yield f'{result.peak_bytes / 2**20:.0f}'
        yield f'{result.peak_bytes / first.peak_bytes:.3f}'
        mine, its = total(result.kernels), total(first.kernels)
        yield f'{mine.milliseconds:.2f}'
        yield f'{mine.milliseconds / its.milliseconds:.3f}'
        yield str(mine.launches)
        yield from (f'{result.kernels[kind].milliseconds:.2f}' for kind in KINDS)


def reading(settings: Settings, names: Sequence[str]) -> str:
    """How the table is to be read."""
    step = 'forward and backward' if settings.mode == 'train' else 'forward'
    how = [settings.dtype, 'channels_last' if settings.channels_last else 'NCHW']
    how += ['norms in eval mode'] if settings.norm_eval else []
    how += [f'compiled by {settings.compiler}'] if settings.compiler else []
    how += ['in a CUDA graph'] if settings.graph else []
    how += [f'fused={settings.fused!r}'] if settings.fused is not False else []
    return (
        f'A step is {step} ({", ".join(how)}); {settings.rounds} rounds, in which the nets take turns, after '
        f'{settings.warm_ups} to warm up. Spread: the middle half of the rounds over the median. Ratio: the '
        f'median over the rounds of a step over that of {names[0]} in the same round.'
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, _, high = quantiles(values, n=4, method='inclusive')
    return low, median(values), high


def _spread(values: Sequence[float]) -> float:
    low, middle, high = _quartiles(values)
    return (high - low) / middle


def _shape(outputs: Sequence[tuple[int, ...]]) -> str:
    """What a net gives, in a word or two: so that a classifier is not taken for a backbone."""
    if all(len(shape) == 4 for shape in outputs):
        return f'{len(outputs)} maps' if len(outputs) > 1 else '1 map'
    return ', '.join('x'.join(map(str, shape)) for shape in outputs)
