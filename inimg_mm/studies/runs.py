"""What trainings wrote down as they went: their curves, as far as they came."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from inimg_mm.errors import UsageError
from inimg_mm.output_files import csv_line, told_apart

from .demo_report import METRICS

SCALARS = '*/vis_data/scalars.json'
"""Where mmengine writes a line for each log of a run, in the work folder."""
TESTS = {'metrics.json': None, 'result.json': 'metrics'}
"""What ``tools/test.py --out`` and ``tools/ablate.py`` leave of a test, and the key of its metrics in it."""
NO_METRICS = ('step', 'time', 'data_time', 'memory', 'iter', 'epoch')

Curve = dict[int, float]
"""Values by step."""


@dataclass
class RunLog:
    """The log of a work folder, of all its runs together: one that was resumed is one training.

    Attributes:
        name: What the training is called.
        loss: By iteration.
        metrics: Of the validations: by epoch, or by iteration (``unit``).
        unit: 'epoch' or 'iteration'.
        reached: In which of them it was last.
        planned: How many of them the training has, where its config is there.
        finished: Whether the last one has been validated, or has left its checkpoint.
        tested: What ``tools/test.py --out`` has left in metrics.json, or ``tools/ablate.py`` in result.json.
    """

    name: str
    loss: Curve = field(default_factory=dict)
    metrics: dict[str, Curve] = field(default_factory=dict)
    unit: str = 'iteration'
    reached: int = 0
    planned: int | None = None
    finished: bool = False
    tested: dict[str, float] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """How far the training came."""
        if self.planned is None:
            return f'{self.unit} {self.reached}'
        end = '' if self.finished else ', going on or stopped'
        return f'{self.unit} {self.reached} of {self.planned}{end}'

    def last(self, metric: str) -> float | None:
        """A metric's last value."""
        curve = self.metrics.get(metric)
        return None if not curve else curve[max(curve)]


def read_runs(work_dirs: Sequence[str | Path]) -> list[RunLog]:
    """Read work folders, of any host.

    Raises:
        UsageError: If a folder is named twice, is missing, or has no log.
    """
    paths = [Path(os.path.abspath(folder)) for folder in work_dirs]
    for path in paths:
        if paths.count(path) > 1:
            raise UsageError(f'{path} is named twice')
    return [read_run(path, name) for path, name in zip(paths, told_apart(paths), strict=True)]


def read_run(work_dir: Path, name: str) -> RunLog:
    """Read a work folder; see :func:`read_runs`."""
    if not work_dir.is_dir():
        raise UsageError(f'there is no work folder {work_dir}')
    logs = sorted(work_dir.glob(SCALARS))
    if not logs:
        raise UsageError(f'{work_dir} is no work folder of a training: it has no {SCALARS}')
    run = RunLog(name)
    for log in logs:
        _add(run, list(_lines(log)))
    if not run.loss and not run.metrics:
        raise UsageError(
            f'the logs of {work_dir} have no loss and no metric: that training has not begun yet'
        )
    for file, key in TESTS.items():
        if (work_dir / file).is_file():
            content = json.loads((work_dir / file).read_text())
            found = content[key] if key else content
            run.tested |= {metric: value for metric, value in found.items() if _is_number(value)}
    run.planned = _planned(work_dir, run.unit)
    whole = [_saved(work_dir), *(step for curve in run.metrics.values() for step in curve)]
    run.reached = max([run.reached, *whole[1:]])  # the loss is not logged at each step
    if run.planned is not None and max(whole) >= run.planned:
        run.finished, run.reached = True, run.planned
    return run


def _saved(work_dir: Path) -> int:
    """Epoch or iteration of the newest checkpoint; 0 without one."""
    file = work_dir / 'last_checkpoint'
    number = re.search(r'(\d+)\.pth\s*$', file.read_text()) if file.is_file() else None
    return int(number[1]) if number else 0


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """The entries of a log; its last line may be cut, of a run that was killed as it wrote."""
    lines = log.read_text(errors='replace').splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise UsageError(f'line {number} of {log} is damaged: {error}') from error
        if isinstance(entry, dict):
            yield entry


def _add(run: RunLog, entries: Sequence[dict[str, Any]]) -> None:
    """Add what one run wrote; where it went back to a checkpoint, what came after that is replaced."""
    steps = [entry for entry in entries if 'loss' in entry and 'iter' in entry]
    if any('epoch' in entry for entry in steps):
        run.unit = 'epoch'
    if steps:
        run.loss = _before(run.loss, steps[0]['iter'])
        first = steps[0]['epoch' if run.unit == 'epoch' else 'iter']
        run.metrics = {name: _before(curve, first) for name, curve in run.metrics.items()}
    for entry in steps:
        run.loss[entry['iter']] = float(entry['loss'])
        run.reached = entry['epoch'] if run.unit == 'epoch' else entry['iter']
    for entry in entries:
        if 'iter' not in entry:  # a validation
            for key, value in entry.items():
                if key not in NO_METRICS and _is_number(value):
                    run.metrics.setdefault(key, {})[int(entry.get('step', 0))] = float(value)


def _before(curve: Curve, first: int) -> Curve:
    return {step: value for step, value in curve.items() if step < first}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _planned(work_dir: Path, unit: str) -> int | None:
    """The length of the training, by the config in its folder."""
    configs = list(work_dir.glob('*.py'))
    if len(configs) != 1:
        return None
    try:
        train_cfg = Config.fromfile(configs[0]).get('train_cfg') or {}
    except Exception:  # a config is a program, and this one may be of another machine
        return None
    return train_cfg.get('max_epochs' if unit == 'epoch' else 'max_iters')


def chosen_metrics(runs: Sequence[RunLog], wanted: Sequence[str] | None = None, most: int = 5) -> list[str]:
    """Which metrics are compared.

    Args:
        runs: The runs.
        wanted: Their names. Default: those of :data:`.METRICS` that a run has; if there are none, the first.
        most: At most so many of the first.

    Raises:
        UsageError: If no run has one that is wanted.
    """
    found = list(dict.fromkeys(name for run in runs for name in (*run.metrics, *run.tested)))
    for name in wanted or ():
        if name not in found:
            raise UsageError(f'no run has the metric {name!r}; they have {", ".join(found) or "none"}')
    return list(wanted or [name for name in METRICS if name in found] or found[:most])


def final_table(runs: Sequence[RunLog], metrics: Sequence[str]) -> str:
    """How far each run came and its last metrics, in Markdown."""
    heads = [METRICS.get(name, name) for name in metrics]
    titles = ['run', 'state', 'loss', *heads, *(f'{head}, tested' for head in heads)]
    lines = [f'| {" | ".join(titles)} |', f'| --- | --- | {" | ".join(["---:"] * (len(titles) - 2))} |']
    for run in runs:
        loss = run.loss[max(run.loss)] if run.loss else None
        values = [loss, *(run.last(name) for name in metrics), *(run.tested.get(name) for name in metrics)]
        shown = ('–' if value is None else f'{value:.4f}' for value in values)
        lines.append(f'| {" | ".join([run.name, run.state, *shown])} |')
    return '\n'.join(lines)


def csv_lines(runs: Sequence[RunLog]) -> Iterator[str]:
    """A line for each value of each curve, those of all metrics, and of each test."""
    yield csv_line(['run', 'curve', 'unit', 'step', 'value'])
    for run in runs:
        for step, loss in sorted(run.loss.items()):
            yield csv_line([run.name, 'loss', 'iteration', step, loss])
        for name, curve in run.metrics.items():
            for step, value in sorted(curve.items()):
                yield csv_line([run.name, name, run.unit, step, value])
        for name, value in run.tested.items():
            yield csv_line([run.name, name, 'test', '', value])
