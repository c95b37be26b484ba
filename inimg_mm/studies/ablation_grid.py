"""The grid of an ablation: configs that differ in some keys, and seeds; checked whole before a training."""

import copy
import difflib
import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from mmengine import registry
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from inimg_mm.catalogue.model_complexity import measure_config
from inimg_mm.data_files.checks import check_data
from inimg_mm.errors import UsageError
from inimg_mm.launch.configs import load_config
from inimg_mm.registry import build_model

KEYS = {
    'config': 'the config that all share (a path)',
    'work_dir': 'a folder for all runs; default: work_dirs/<name of the grid>',
    'seeds': 'a list of whole numbers; default: [0]',
    'common': 'keys of the config with values that all share',
    'variants': 'names with keys of the config and their values',
    'grid': 'keys of the config, each with a list of values, or with names and values',
    'baseline': 'name of the cell that others are compared with; default: the first',
    'metric': 'what is plotted and compared, e.g. accuracy/top1; default: the first that is known',
}
"""What a grid's file can say."""

REGISTRIES = (
    registry.MODELS,
    registry.DATASETS,
    registry.TRANSFORMS,
    registry.OPTIMIZERS,
    registry.OPTIM_WRAPPERS,
    registry.PARAM_SCHEDULERS,
    registry.HOOKS,
    registry.METRICS,
    registry.DATA_SAMPLERS,
)
"""Where the types of a config are looked up."""
UNNAMED = {
    'optim_wrapper': (OptimWrapper,),
    'train_cfg': (EpochBasedTrainLoop, IterBasedTrainLoop),
    **dict.fromkeys(('train_dataloader', 'val_dataloader', 'test_dataloader'), (DataLoader,)),
    'randomness': (Runner.set_randomness,),
}
"""What places of a config build that name no type."""
CONSTRUCTORS = {'optim_wrapper': {'constructor', 'paramwise_cfg'}}
"""What is read at a place before it is built."""


@dataclass
class Cell:
    """A combination of the grid.

    Attributes:
        name: Of its variant and values.
        values: Keys of the config with their values, those of all cells included.
        cfg: The config, without a seed.
        params: Parameters of the model.
        macs: Multiply-adds for one test image; None where the config does not say how large it is.
    """

    name: str
    values: dict[str, Any]
    cfg: Config
    params: int = 0
    macs: int | None = None


@dataclass
class Grid:
    """An ablation that is to be run.

    Attributes:
        cells: Its combinations, the one that others are compared with first.
        seeds: Of the trainings of each.
        work_dir: Folder of all runs.
        metric: What is compared; None for the first that is known.
    """

    cells: list[Cell]
    seeds: list[int]
    work_dir: Path
    metric: str | None


def read_grid(path: str | Path, work_dir: str | Path | None = None) -> Grid:
    """Read a grid, and check that all of it can be trained.

    Args:
        path: A YAML file with the words of :data:`KEYS`.
        work_dir: Folder of all runs instead of the file's.

    Raises:
        UsageError: If the file cannot be read, a key is not the config's, two cells have the same name, data
            is missing, or a combination cannot be built and run.
    """
    path = Path(path)
    content = _content(path)
    base = Path(content['config'])
    if not base.exists():
        base = path.parent / base
    cfg = load_config(base)
    cells = list(_cells(content, cfg))
    names = [cell.name for cell in cells]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f'{path} has two cells of the same name: {", ".join(sorted(twice))}')
    baseline = content.get('baseline', names[0])
    if baseline not in names:
        raise UsageError(f'{path} has no cell {baseline!r} as its baseline; choose from {names}')
    cells.sort(key=lambda cell: cell.name != baseline)
    for cell in cells:
        check_data(cell.cfg, ('train_dataloader', 'val_dataloader', 'test_dataloader'))
        _measure(cell)
    folder = Path(work_dir or content.get('work_dir') or Path('work_dirs', path.stem))
    return Grid(cells, content.get('seeds', [0]), folder, content.get('metric'))


def _content(path: Path) -> dict[str, Any]:
    """What a grid's file says, of the right forms."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, 'strerror', None) or ' '.join(str(error).split())
        raise UsageError(f'cannot read the grid {path}: {reason}') from error
    words = '; '.join(f'{key}: {meaning}' for key, meaning in KEYS.items())
    if not isinstance(content, dict) or 'config' not in content:
        raise UsageError(f'{path} is no grid, which names a config. A grid can say {words}')
    for key, value in content.items():
        if key not in KEYS:
            raise UsageError(f'{path} says {key!r}, which a grid has not; it can say {words}')
        form = list if key == 'seeds' else dict if key in ('common', 'variants', 'grid') else str
        if not isinstance(value, form) or not value:
            raise UsageError(f'{key} in {path} must be {KEYS[key]}, got {value!r}')
    seeds = content.get('seeds', [0])
    if not all(type(seed) is int and seed >= 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UsageError(f'seeds in {path} must be different whole numbers from 0, got {seeds}')
    if 'variants' not in content and 'grid' not in content:
        raise UsageError(f'{path} has nothing to compare: neither variants nor a grid')
    for name, values in content.get('variants', {}).items():
        if values is not None and not isinstance(values, dict):
            raise UsageError(
                f'variant {name} in {path} must be keys of the config with values, got {values!r}'
            )
    for key, values in content.get('grid', {}).items():
        if not isinstance(values, list | dict) or not values:
            raise UsageError(
                f'{key} in {path} must have a list of values, or names and values, got {values!r}'
            )
    return content


def _cells(content: Mapping[str, Any], cfg: Config) -> Iterator[Cell]:
    """Every combination of the variants and the values of the grid's keys."""
    axes = [[(str(name), values or {}) for name, values in content.get('variants', {'': None}).items()]]
    for key, values in content.get('grid', {}).items():
        named = values.items() if isinstance(values, dict) else [(_short(key, each), each) for each in values]
        axes.append([(str(name), {key: value}) for name, value in named])
    for combination in itertools.product(*axes):
        name = ', '.join(part for part, _ in combination if part)
        values = dict(content.get('common', {}))
        for _, own in combination:
            values.update(own)
        changed = copy.deepcopy(cfg)
        for key, value in values.items():
            set_value(changed, key, value, name)
        yield Cell(name, values, changed)


def _short(key: str, value: Any) -> str:
    return f'{key.rpartition(".")[2]}={value}'


def set_value(cfg: Config, key: str, value: Any, cell: str) -> None:
    """Give a key of a config another value, in the place of all that it had.

    Args:
        cfg: Changed in place.
        key: Dotted; numbers count in lists. It is there, or is an argument of what its place builds.
        value: The value.
        cell: Which combination this is for, in errors.

    Raises:
        UsageError: If the config has no such key.
    """
    *path, last = key.split('.')
    node: Any = cfg
    for depth, part in enumerate(path):
        if not _has(node, part):
            raise _no_key(cell, key, '.'.join(path[:depth]), part, node)
        node = node[int(part)] if isinstance(node, list | tuple) else node[part]
    place = '.'.join(path)
    if not _has(node, last) and not _takes(node, last, place, cfg):
        raise _no_key(cell, key, place, last, node)
    node[int(last) if isinstance(node, list) else last] = copy.deepcopy(value)


def _has(node: Any, part: str) -> bool:
    if isinstance(node, list | tuple):
        return part.isdecimal() and int(part) < len(node)
    return isinstance(node, Config | Mapping) and part in node


def _takes(node: Any, name: str, place: str, cfg: Config) -> bool:
    """Whether what a place of a config builds takes an argument of this name."""
    if isinstance(node, Config):
        return name in arguments_of(Runner)
    if not isinstance(node, Mapping):
        return False
    built = [_class_of(node['type'], cfg)] if 'type' in node else UNNAMED.get(place, ())
    known = CONSTRUCTORS.get(place, set())
    return name in known or any(name in arguments_of(each) for each in built if each is not None)


def _class_of(kind: Any, cfg: Config) -> Any:
    """What a config's type stands for; None where no host knows it."""
    if not isinstance(kind, str):
        return kind
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        for root in REGISTRIES:
            with root.switch_scope_and_registry(None) as own:
                if (found := own.get(kind)) is not None:
                    return found
    return None


def arguments_of(built: Any) -> set[str]:
    """Names of the arguments of a class, those that it hands on to its bases included, or of a function."""
    if not inspect.isclass(built):
        return set(inspect.signature(built).parameters)
    names: set[str] = set()
    for cls in inspect.getmro(built):
        if '__init__' not in vars(cls) or cls is object:
            continue
        parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
        names |= {
            each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        }
        if all(each.kind is not each.VAR_KEYWORD for each in parameters):
            break
    return names - {'self'}


def _no_key(cell: str, key: str, place: str, part: str, node: Any) -> UsageError:
    known = [str(each) for each in node] if isinstance(node, Config | Mapping) else []
    near = difflib.get_close_matches(part, known, n=3) or sorted(known)
    where = f'{place} has' if place else 'it has'
    choices = f'; {where} {", ".join(near)}' if near else ''
    return UsageError(f'cell {cell!r}: the config has no {key!r}{choices}')


def _measure(cell: Cell) -> None:
    """Build a cell's model, without memory, and send the shape of an image through it."""
    try:
        with torch.device('meta'):
            model = build_model(cell.cfg)
        cell.params = sum(parameter.numel() for parameter in model.parameters())
    except Exception as error:  # a host's class can raise anything
        raise UsageError(f'cell {cell.name!r} cannot be built: {_reason(error)}') from error
    try:
        cell.macs = measure_config(cell.cfg).macs
    except UsageError:
        cell.macs = None
    except Exception as error:
        raise UsageError(f'cell {cell.name!r} is built, and cannot run: {_reason(error)}') from error


def _reason(error: Exception) -> str:
    return ' '.join((str(error) or type(error).__name__).split())[:300]


def varied(cells: Sequence[Cell]) -> list[str]:
    """The keys in which cells differ, for a table."""
    keys = dict.fromkeys(key for cell in cells for key in cell.values)
    return [key for key in keys if len({repr(cell.values.get(key)) for cell in cells}) > 1]
