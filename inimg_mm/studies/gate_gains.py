"""What gates gain on a trained plain net: warm-started from it, beside the same from scratch."""

import copy
import json
import multiprocessing
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import set_random_seed

from inimg_mm.checkpoints.reading import read_state_dict
from inimg_mm.errors import UsageError
from inimg_mm.launch.runs import evaluate, train
from inimg_mm.registry import build_model

from .demo_report import METRICS

PLAIN = 'none'
COMPARED: dict[str, dict[str, Any] | None] = {
    PLAIN: None,
    'SE': dict(type='SE'),
    'CMPE-SE 1x1': dict(type='CMPESE', view='pair_1x1'),
    'Inner-Imaging D+A+F': dict(
        type='InnerImaging', streams=2, filters=((1, 1), (2, 1), (3, 3)), fold=dict(width=16, pad=True)
    ),
}
"""The gates compared; the first is the plain net."""

GATE_LR = {name: dict(lr_mult=10.0) for name in ('.gate.', '.se_layer.')}
"""``paramwise_cfg.custom_keys`` that let the gates learn ten times as fast as the rest."""

Metrics = dict[str, float]


def compare(
    cfg: Config,
    work_dir: Path,
    seed: int,
    epochs: int,
    more: int,
    scratch: int | None = None,
    plain: str | None = None,
) -> None:
    """Train a plain net, go on from it with each gate and without one, and train each gate from scratch.

    What is finished is kept: every training leaves its metrics as JSON in a folder of its own.

    Args:
        cfg: Config of the task; its backbone's type and gate are replaced.
        work_dir: A folder ``<gate>/<start>/seed<N>`` is made in it for each training.
        seed: Of every training.
        epochs: Of the plain net.
        more: Epochs that follow, at a tenth of the learning rate, the gates at ten times that.
        scratch: Epochs of the gated nets from scratch. Default: both together.
        plain: A checkpoint of the plain net that is trained already, instead of training it.
    """
    base = _folder(work_dir, PLAIN, 'scratch', seed)
    if plain is None:
        _once(base, _scratch(cfg, None, seed, epochs))
        plain = str(base / 'trained.pth')
    for name, attention in COMPARED.items():
        _once(_folder(work_dir, name, 'warm', seed), _warm(cfg, attention, seed, more, plain), first=True)
        if name != PLAIN:
            _once(
                _folder(work_dir, name, 'scratch', seed),
                _scratch(cfg, attention, seed, scratch or epochs + more),
            )


def table(work_dir: Path, seeds: Sequence[int]) -> str:
    """The results under ``work_dir`` in Markdown: mean and, over several seeds, standard deviation."""
    rows = [
        '| gate | metric | warm start: before training | after | from scratch |',
        '| --- | --- | ---: | ---: | ---: |',
    ]
    for name in COMPARED:
        warm = _results(_folder(work_dir, name, 'warm', seed) for seed in seeds)
        scratch = _results(_folder(work_dir, name, 'scratch', seed) for seed in seeds)
        for metric in warm[0]['end']:
            cells = [
                _spread([result[moment][metric] for result in results])
                for results, moment in ((warm, 'start'), (warm, 'end'), (scratch, 'end'))
                if results is warm or name != PLAIN
            ]
            rows.append(f'| {" | ".join([name, metric, *cells])} |' + (' |' if name == PLAIN else ''))
    return '\n'.join(rows)


def _folder(work_dir: Path, gate: str, start: str, seed: int) -> Path:
    return work_dir / gate.replace(' ', '_') / start / f'seed{seed}'


def _scratch(cfg: Config, attention: dict[str, Any] | None, seed: int, epochs: int) -> Config:
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone = {**cfg.model.backbone, 'type': 'inimg_mm.ResNet', 'attention': attention}
    cfg.randomness = dict(seed=seed)
    _set_epochs(cfg, epochs)
    return cfg


def _warm(cfg: Config, attention: dict[str, Any] | None, seed: int, epochs: int, plain: str) -> Config:
    cfg = _scratch(cfg, attention, seed, epochs)
    parts = {name.split('.')[0] for name in read_state_dict(plain, prefix='')}
    for part in parts:
        cfg.model[part].init_cfg = dict(type='inimg_mm.Pretrained', checkpoint=plain, prefix=f'{part}.')
    cfg.model.backbone.init_cfg.warm_start = attention is not None
    cfg.optim_wrapper.optimizer.lr *= 0.1
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys=GATE_LR)
    return cfg


def _set_epochs(cfg: Config, epochs: int) -> None:
    """Give training and its schedule another length."""
    before = cfg.train_cfg.max_epochs
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    for scheduler in cfg.param_scheduler:
        if scheduler.get('by_epoch', True):
            scheduler.update({key: epochs for key in ('T_max', 'end') if scheduler.get(key) == before})


def _once(folder: Path, cfg: Config, first: bool = False) -> None:
    """Train in a process of its own, unless that is done."""
    if (folder / 'result.json').is_file():
        return
    cfg.work_dir = str(folder)
    process = multiprocessing.get_context('spawn').Process(target=_train, args=(cfg.to_dict(), folder, first))
    process.start()
    process.join()
    if process.exitcode:
        raise UsageError(f'the training in {folder} failed, see its output above')


def _train(settings: dict[str, Any], folder: Path, first: bool) -> None:
    cfg = Config(settings)
    result: dict[str, Metrics] = {}
    if first:
        cfg.load_from = str(folder / 'start.pth')
        _save_initial(cfg, cfg.load_from)
        result['start'] = _evaluate(cfg, cfg.load_from)
    train(copy.deepcopy(cfg))
    last = Path((folder / 'last_checkpoint').read_text())
    last.replace(folder / 'trained.pth')
    result['end'] = _evaluate(cfg, str(folder / 'trained.pth'))
    (folder / 'result.json').write_text(json.dumps(result, indent=2) + '\n')


def _save_initial(cfg: Config, path: str) -> None:
    set_random_seed(cfg.randomness.seed)
    model = build_model(cfg)
    model.init_weights()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    torch.save({'state_dict': model.state_dict()}, path)


def _evaluate(cfg: Config, checkpoint: str) -> Metrics:
    metrics = evaluate(copy.deepcopy(cfg), checkpoint)
    return {short: float(metrics[key]) for key, short in METRICS.items() if key in metrics}


def _results(folders: Iterable[Path]) -> list[dict[str, Metrics]]:
    return [json.loads(path.read_text()) for f in folders if (path := f / 'result.json').is_file()]


def _spread(values: list[float]) -> str:
    mean = statistics.mean(values)
    digits = 1 if mean > 1 else 3
    return f'{mean:.{digits}f}' + (f' ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else '')
