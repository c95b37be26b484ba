"""Train the cells of a grid, one after another or a GPU each; what is finished is kept."""

import copy
import hashlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from inimg_mm.errors import UsageError
from inimg_mm.launch.cli import mistakes_in_one_line
from inimg_mm.launch.configs import load_config
from inimg_mm.launch.runs import evaluate, train
from inimg_mm.output_files import check_folder, json_text, write_text

from .ablation_grid import Cell, Grid
from .demo_report import training_seconds
from .progress import progress_bar

CONFIG, RESULT, OUTPUT = 'run.py', 'result.json', 'output.txt'
"""Files in the folder of a run: its config, what came out, what it printed."""


class Run(NamedTuple):
    """A training of a grid.

    Attributes:
        cell: Its cell.
        seed: Its seed.
        folder: Its work folder.
    """

    cell: Cell
    seed: int
    folder: Path

    @property
    def cfg(self) -> Config:
        """The cell's config with the seed and the folder."""
        cfg = copy.deepcopy(self.cell.cfg)
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': self.seed}
        cfg.work_dir = str(self.folder)
        return cfg

    @property
    def digest(self) -> str:
        """What tells this training from one with another config."""
        return hashlib.sha256(
            json.dumps(self.cfg.to_dict(), sort_keys=True, default=str).encode()
        ).hexdigest()

    @property
    def result(self) -> dict[str, Any] | None:
        """What came out; None before."""
        path = self.folder / RESULT
        return json.loads(path.read_text()) if path.is_file() else None


def runs_of(grid: Grid) -> list[Run]:
    """The trainings of a grid: every cell with one seed, then with the next."""
    return [
        Run(cell, seed, grid.work_dir / re.sub(r'[^\w.+-]+', '_', cell.name) / f'seed{seed}')
        for seed in grid.seeds
        for cell in grid.cells
    ]


def ablate(grid: Grid) -> list[Run]:
    """Train what is not trained yet; a training that was killed goes on from its newest checkpoint.

    Every training is a process of its own; with several GPUs as many run at once.

    Returns:
        All runs of the grid.

    Raises:
        UsageError: If a folder has a run of another config, or a training failed; the others are done then.
    """
    runs = runs_of(grid)
    if len({run.folder for run in runs}) < len(runs):
        raise UsageError(
            'two cells differ in nothing but signs that a folder cannot have: name them differently'
        )
    check_folder(grid.work_dir)
    for run in runs:
        _check_same(run)
    waiting = [run for run in runs if run.result is None]
    devices: queue.Queue[str | None] = queue.Queue()
    for device in _devices():
        devices.put(device)
    failed: list[Run] = []
    children: list[subprocess.Popen] = []
    with progress_bar('trainings', len(runs), len(runs) - len(waiting)) as (progress, task):

        def work(run: Run) -> None:
            device = devices.get()
            progress.update(task, description=f'{run.cell.name}, seed {run.seed}')
            try:
                if _train_apart(run, device, children):
                    failed.append(run)
            finally:
                devices.put(device)
                progress.advance(task)

        with ThreadPoolExecutor(devices.qsize()) as pool:
            try:
                list(pool.map(work, waiting))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in children:
                    child.terminate()
                raise
    if failed:
        logs = ', '.join(str(run.folder / OUTPUT) for run in failed)
        raise UsageError(f'{len(failed)} of {len(waiting)} trainings failed, see {logs}')
    return runs


def _devices() -> Sequence[str | None]:
    """What ``CUDA_VISIBLE_DEVICES`` is set to for each process at once; None leaves it."""
    count = torch.cuda.device_count()
    if count < 2:
        return [None]
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    return visible.split(',')[:count] if visible else [str(index) for index in range(count)]


def _check_same(run: Run) -> None:
    """Refuse to take what another config left for this run's."""
    mark = run.folder / 'digest.txt'
    check_folder(run.folder)
    if mark.is_file() and mark.read_text().strip() != run.digest:
        raise UsageError(
            f'{run.folder} has a run of another config: give the grid another work_dir, or remove that folder'
        )
    write_text(mark, [run.digest + '\n'])


def _train_apart(run: Run, device: str | None, children: list[subprocess.Popen]) -> int:
    """Train in a process of its own; returns its exit status."""
    run.cfg.dump(run.folder / CONFIG)
    command = f'from {__name__} import train_one; train_one({str(run.folder)!r}, {os.getpid()})'
    environment = dict(os.environ) | ({} if device is None else {'CUDA_VISIBLE_DEVICES': device})
    with (run.folder / OUTPUT).open('a') as output:
        child = subprocess.Popen(
            [sys.executable, '-c', command], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        children.append(child)
        return child.wait()


def train_one(folder: str, parent: int) -> None:
    """Train and test the run in a folder, and write down what came out; the work of a process of its own.

    Args:
        folder: Of the run.
        parent: Process that it dies with.
    """
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    work = Path(folder)
    with mistakes_in_one_line():
        cfg = load_config(work / CONFIG)
        train(copy.deepcopy(cfg), resume='auto')
        metrics = evaluate(copy.deepcopy(cfg), (work / 'last_checkpoint').read_text().strip())
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            images = len(DATASETS.build(cfg.test_dataloader.dataset))
        result = dict(metrics=metrics, images=images, seconds=training_seconds(work))
        write_text(work / RESULT, [json_text(result, indent=2) + '\n'])


def _die_with(parent: int) -> None:
    """End this process when its parent has ended, so that two never train in one folder."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
