"""What came out of trainings: one line of a table for each work folder."""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from inimg_mm.errors import UsageError
from inimg_mm.registry import build_model

METRICS = {
    'coco/bbox_mAP': 'box mAP',
    'coco/bbox_mAP_50': 'box mAP50',
    'coco/segm_mAP': 'mask mAP',
    'coco/segm_mAP_50': 'mask mAP50',
    'coco/AP': 'keypoint AP',
    'accuracy/top1': 'top-1 %',
}
STAMP = re.compile(r'^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?= - )', re.MULTILINE)


class Row(NamedTuple):
    """One training.

    Attributes:
        name: Of the config.
        backbone: Its class and depth.
        backbone_params: Parameters of the backbone.
        params: Parameters of the whole model.
        metrics: Those of :data:`METRICS` that the test gave, by their short names.
        seconds: Time of training and the validations in it.
    """

    name: str
    backbone: str
    backbone_params: int
    params: int
    metrics: dict[str, float]
    seconds: float


def summarise(work_dir: str | Path) -> Row:
    """Read a work folder of ``tools/train.py`` into which ``tools/test.py --out`` has put metrics.json.

    Raises:
        UsageError: If the folder has not one config, or no metrics.json.
    """
    work_dir = Path(work_dir)
    configs = list(work_dir.glob('*.py'))
    if len(configs) != 1:
        raise UsageError(f'{work_dir} is not the work folder of one config: it holds {len(configs)}')
    metrics_file = work_dir / 'metrics.json'
    if not metrics_file.is_file():
        raise UsageError(f'there is no {metrics_file}: tools/test.py … --out {metrics_file} makes it')
    found = json.loads(metrics_file.read_text())
    cfg = Config.fromfile(configs[0])
    model = build_model(cfg)
    depth = cfg.model.backbone.get('depth')
    return Row(
        name=configs[0].stem,
        backbone=type(model.backbone).__name__ + (f'-{depth}' if depth else ''),
        backbone_params=sum(p.numel() for p in model.backbone.parameters()),
        params=sum(p.numel() for p in model.parameters()),
        metrics={short: found[key] for key, short in METRICS.items() if key in found},
        seconds=training_seconds(work_dir),
    )


def training_seconds(work_dir: str | Path) -> float:
    """Time of all trainings in a work folder, by the first and last time of each log; resumed ones add up."""
    total = 0.0
    for log in Path(work_dir).glob('*/*.log'):
        text = log.read_text(errors='replace')
        if '(train)' in text and (stamps := STAMP.findall(text)):
            first, last = (datetime.strptime(stamps[index], '%Y/%m/%d %H:%M:%S') for index in (0, -1))
            total += (last - first).total_seconds()
    return total


def print_table(rows: Iterable[Row]) -> None:
    """Print the rows as a table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table('config', 'backbone', box=box.SIMPLE_HEAD)
    for heading in ('its parameters', 'all parameters', 'result', 'training'):
        table.add_column(heading, justify='right')
    for row in rows:
        result = '\n'.join(f'{name} {value:.3f}' for name, value in row.metrics.items())
        sizes = (f'{count / 1e6:.2f} M' for count in (row.backbone_params, row.params))
        table.add_row(row.name, row.backbone, *sizes, result, f'{row.seconds:.0f} s')
    console = Console()
    console.width = max(console.width, 140)
    console.print(table)
