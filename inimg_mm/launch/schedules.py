"""The learning rate's schedule, and the batch that it is meant for (``--auto-scale-lr``)."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config

from inimg_mm.checkpoints.own_config import Difference, changes, own_config
from inimg_mm.checkpoints.reading import Opened
from inimg_mm.config_tree import nodes, type_name
from inimg_mm.errors import UsageError, warn


def scale_lr(cfg: Config) -> None:
    """Scale the learning rate with the batch of all processes together."""
    settings = cfg.get('auto_scale_lr') or {}
    if not settings.get('base_batch_size'):
        raise UsageError(
            '--auto-scale-lr needs the batch size that the learning rate is meant for: '
            'auto_scale_lr=dict(base_batch_size=…) in the config'
        )
    settings['enable'] = True
    cfg.auto_scale_lr = settings


OF_A_STEP = ('optim_wrapper.optimizer', 'optim_wrapper.paramwise_cfg', 'param_scheduler')
"""Settings whose values mmengine restores from a checkpoint that a training goes on from."""


def restored_settings(cfg: Config, checkpoint: Opened) -> list[Difference]:
    """What a resumed training keeps of its checkpoint, though its config says otherwise.

    mmengine restores the rates of the parameter groups and the whole state of the schedulers; only the length
    of the training is the new config's.

    Args:
        cfg: The config.
        checkpoint: What the training goes on from; one without a config of its own tells nothing.
    """
    own = own_config(checkpoint)
    return [
        difference
        for line in OF_A_STEP
        if own
        for difference in changes(line, _at(cfg, line), _at(own, line))
    ]


def _at(settings: Any, line: str) -> Any:
    for step in line.split('.'):
        settings = (settings or {}).get(step)
    return settings


class Course(NamedTuple):
    """One scheduler of the learning rate, in the unit that the training counts in.

    Attributes:
        name: Its type.
        end: Where it has done all that it does; None if that is not known, or never.
        rises: Whether the rate is higher there than at its beginning.
        stays: Whether it is meant to keep the rate from there on: steps that do not say when they are over.
    """

    name: str
    end: float | None
    rises: bool
    stays: bool


def schedule_faults(training: Any, schedule: Any, epoch_length: int | None = None) -> list[str]:
    """Compare a schedule's length with the training's.

    Args:
        training: The config's ``train_cfg``.
        schedule: Its ``param_scheduler``.
        epoch_length: Iterations in an epoch; without it, a warm-up in iterations of a training in epochs is
            not compared.

    Returns:
        A sentence for each thing that does not fit.
    """
    training = training or {}
    in_epochs = 'max_epochs' in training
    length = training.get('max_epochs' if in_epochs else 'max_iters')
    if not length:
        return []
    unit = 'epochs' if in_epochs else 'iterations'
    courses = list(_courses(schedule, in_epochs, epoch_length))
    ends = [course.end for course in courses if course.end is not None]
    faults = []
    for course in courses:
        if course.end is None or course.end <= length:
            continue
        end = f'{course.end:.6g}'
        if course.rises:
            what = 'the rate is still rising at the end: it'
            faults.append(
                f'{what} does until {end} {unit} ({course.name}), and the training ends at {length}'
            )
        else:
            faults.append(f'the schedule ends at {end} {unit} ({course.name}), the training at {length}')
    falling = [course for course in courses if not course.rises]
    planned = len(ends) == len(courses) and not any(course.stays for course in falling)
    if falling and planned and max(ends) < length:
        last = max(falling, key=lambda course: course.end or 0)
        faults.append(
            f'the schedule ends at {last.end:.6g} {unit} ({last.name}), the training at {length}: after it '
            'the rate stays as it is'
        )
    return faults


def _courses(schedulers: Any, in_epochs: bool, epoch_length: int | None) -> Iterator[Course]:
    for node in nodes(schedulers):
        name = type_name(node)
        if 'LR' not in name:
            continue
        scale: float | None = 1.0
        if bool(node.get('by_epoch', True)) != in_epochs:
            scale = None if not epoch_length else 1 / epoch_length if in_epochs else float(epoch_length)
        end = _end(name, node)
        end = None if end is None or scale is None else end * scale
        yield Course(name, end, _rises(name, node), name == 'MultiStepLR' and node.get('end') is None)


def _end(name: str, node: Mapping[str, Any]) -> float | None:
    begin, end = node.get('begin', 0), node.get('end')
    if name == 'MultiStepLR':
        return max([end or 0, *node.get('milestones', [])]) or None
    if end is None and 'T_max' in node:
        return begin + node['T_max']
    return node.get('total_steps') if end is None else end


def _rises(name: str, node: Mapping[str, Any]) -> bool:
    if name == 'LinearLR':
        return node.get('start_factor', 1 / 3) < node.get('end_factor', 1.0)
    return 'Warmup' in name or (name == 'ConstantLR' and node.get('factor', 1 / 3) < 1)


def kept_schedule(cfg: Config, checkpoint: Opened) -> Any:
    """The schedule of a training that goes on from a checkpoint; a warning where it is not the config's."""
    kept = restored_settings(cfg, checkpoint)
    if not kept:
        return cfg.get('param_scheduler')
    warn(
        f'{checkpoint.source} keeps its learning rate and schedule: {"; ".join(map(str, kept))}. To train '
        f"with this config's, start from its weights, with epochs that count from 0: --cfg-options "
        f'load_from={checkpoint.source} in place of --resume'
    )
    return own_config(checkpoint).get('param_scheduler')
