"""The configs that come with the package, found and listed without importing torch or a host.

What is known about each stands in the metafiles beside them, which ``tools/update_catalogue.py`` writes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from inimg_mm.carried import home
from inimg_mm.errors import UsageError

METAFILE = 'metafile.yml'
INDEX = 'model-index.yml'


class CatalogueError(UsageError):
    """What is asked for is not in the catalogue."""


@dataclass(frozen=True)
class Entry:
    """One config.

    Attributes:
        name: Its file's name without the suffix.
        task: The folder of configs that it is in.
        path: Its file.
        host: The toolbox that trains it.
        model: What is built around the backbone.
        backbone: The backbone, with its gate.
        length: How long the training is, a number of ``unit``.
        unit: 'epochs' or 'iterations'.
        batch: Images a step, over all devices.
        size: Width x height of the test image that the multiply-adds are counted for.
        params: Parameters of the whole model.
        macs: Multiply-adds of the whole model, see :func:`.measure_config`.
        figures: Accuracies by metric: the papers', not measured here.
    """

    name: str
    task: str
    path: Path
    host: str
    model: str
    backbone: str
    length: int
    unit: str
    batch: int
    size: str
    params: int
    macs: int
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Task and name, which no other config has."""
        return f'{self.task}/{self.name}'

    @property
    def figure(self) -> str:
        """The papers' figures in words."""
        return ', '.join(f'{metric} {value:g}' for metric, value in self.figures.items())


def config_files(folder: Path) -> list[Path]:
    """Every config under a folder ``configs/``; bases, and studies, which lie deeper, aside."""
    return sorted(path for path in folder.glob('*/*.py') if path.parent.name != '_base_')


@cache
def entries() -> tuple[Entry, ...]:
    """Every config that a metafile describes, in the order of tasks and names.

    Raises:
        CatalogueError: If there are no configs.
    """
    folder = home()
    return tuple(
        _entry(folder, model)
        for path in sorted(folder.glob(f'configs/*/{METAFILE}'))
        for model in read_metafile(path)['Models']
    )


def read_metafile(path: Path) -> dict[str, Any]:
    """Read a YAML file of the catalogue."""
    import yaml

    return yaml.load(path.read_text(), getattr(yaml, 'CSafeLoader', yaml.SafeLoader))


def find(pattern: str | None = None) -> list[Entry]:
    """Find configs.

    Args:
        pattern: A glob over ``task/name`` or the name, or a part of task, name, host, model or
            backbone; case does not count. None finds all.

    Raises:
        CatalogueError: If there is none; close names and the tasks are named.
    """
    found = [entry for entry in entries() if pattern is None or _matches(entry, pattern.lower())]
    if not found:
        raise _not_found(f'no config matches {pattern!r}', pattern or '')
    return found


def get(name: str) -> Entry:
    """Look up the one config of a name, with or without its task and suffix.

    Raises:
        CatalogueError: If there is none; close names are named.
    """
    wanted = name.removesuffix('.py').split('/')
    found = [entry for entry in entries() if entry.id.split('/')[-len(wanted[-2:]) :] == wanted[-2:]]
    if not found:
        raise _not_found(f'there is no config {name!r}', wanted[-1])
    if len(found) > 1:
        raise CatalogueError(
            f'{name!r} is in several tasks: write one of {", ".join(entry.id for entry in found)}'
        )
    return found[0]


def listing(found: Sequence[Entry]) -> str:
    """Configs in aligned columns."""
    head = (
        'config', 'host', 'model', 'backbone', 'params, M', 'multiply-adds, G', 'at W x H', "papers' figure"
    )  # fmt: skip
    rows = [head] + [
        (
            entry.id,
            entry.host,
            entry.model,
            entry.backbone,
            f'{entry.params / 1e6:.2f}',
            f'{entry.macs / 1e9:.2f}',
            entry.size,
            entry.figure,
        )
        for entry in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    numbers = {head.index('params, M'), head.index('multiply-adds, G')}
    return '\n'.join(
        '  '.join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _entry(folder: Path, model: dict[str, Any]) -> Entry:
    path, data = folder / model['Config'], model['Metadata']
    unit = 'epochs' if 'Epochs' in data else 'iterations'
    return Entry(
        name=model['Name'],
        task=path.parent.name,
        path=path,
        host=data['Host'],
        model=data['Architecture'][0],
        backbone=data['Architecture'][1],
        length=data[unit.capitalize()],
        unit=unit,
        batch=data['Batch Size'],
        size=data['Input Size'],
        params=data['Parameters'],
        macs=data['FLOPs'],
        figures={
            key: value for result in model.get('Results', ()) for key, value in result['Metrics'].items()
        },
    )


def _matches(entry: Entry, pattern: str) -> bool:
    if fnmatch(entry.id.lower(), pattern) or fnmatch(entry.name.lower(), pattern):
        return True
    return any(pattern in text.lower() for text in (entry.id, entry.host, entry.model, entry.backbone))


def _not_found(problem: str, name: str) -> CatalogueError:
    return CatalogueError('; '.join([problem, *_advice(name)]))


def _advice(name: str) -> Iterator[str]:
    if close := get_close_matches(name, [entry.name for entry in entries()], n=3, cutoff=0.5):
        yield f'close ones are {", ".join(close)}'
    yield f'the tasks are {", ".join(dict.fromkeys(entry.task for entry in entries()))}'
