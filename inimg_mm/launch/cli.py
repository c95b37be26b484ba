"""What the command lines of ``tools/`` share: arguments, and mistakes said in one line."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from inimg_mm.errors import UsageError
from inimg_mm.output_files import told_apart

from .configs import OWN_DATA_OPTIONS, load_config
from .distributed import LAUNCHERS
from .interrupts import stops_in_one_line


class KeyValues(DictAction):
    """mmengine's KEY=VALUE options; a malformed one is a usage error."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """See :class:`argparse.Action`."""
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, ValueError):
            parser.error(f'{option_string} takes KEY=VALUE ..., got {" ".join(values or [])}')


def config_parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser of the arguments that every tool with a config takes; see :func:`read_config`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file of any host (mmdet, mmpretrain, mmpose, mmseg)')
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help="logs and checkpoints; default: the config's work_dir, or work_dirs/<name of the config>",
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_dataloader.batch_size=4 randomness.seed=1',
    )
    parser.add_argument(
        '--trust',
        action='store_true',
        help='read a checkpoint even if that runs code which its author put in it',
    )
    data = parser.add_argument_group('own data', 'train and test on other data than the config names')
    data.add_argument(
        '--data-root',
        metavar='DIR',
        help='folder with train.json, val.json and images/ (COCO format), for classification with '
        'train/<class>/ and val/<class>/, for segmentation with images/ and labels/, in each train/ and val/',
    )
    data.add_argument('--classes', nargs='+', metavar='NAME', help='classes to use, in order; default: all')
    data.add_argument(
        '--data-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help=f'further: {", ".join(OWN_DATA_OPTIONS)}; e.g. image_scale=320,240 flip=0.5',
    )
    return parser


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the job launchers, with the hosts' names."""
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='what starts the processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def read_config(args: argparse.Namespace) -> Config:
    """Load the config that the arguments of :func:`config_parser` describe.

    Raises:
        UsageError: See :func:`.load_config`.
    """
    if 'local_rank' in args:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return load_config(
        args.config, args.cfg_options, args.work_dir, args.data_root, args.classes, args.data_options
    )


def add_models(parser: argparse.ArgumentParser, name: str = 'models') -> None:
    """Add configs with their checkpoints, and what they are read with; see :func:`read_models`."""
    models = parser.add_argument(
        name,
        nargs='+',
        metavar='CONFIG CHECKPOINT',
        help='configs, each followed by its checkpoint (file or URL)',
    )
    models.required = True
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override settings of all configs',
    )
    parser.add_argument(
        '--trust',
        action='store_true',
        help='read a checkpoint even if that runs code which its author put in it',
    )


def read_models(args: argparse.Namespace) -> list[tuple[Config, str]]:
    """Load the configs that the arguments of :func:`add_models` name, each with its checkpoint's address.

    Raises:
        UsageError: If a checkpoint is missing, and see :func:`.load_config`.
    """
    words = args.models
    if len(words) % 2:
        raise UsageError(f'each config is followed by its checkpoint, and {words[-1]} stands alone')
    pairs = zip(words[::2], words[1::2], strict=True)
    return [(load_config(config, args.cfg_options), checkpoint) for config, checkpoint in pairs]


def names_of(models: Sequence[tuple[Config, str]]) -> list[str]:
    """What plots call models: the configs' names, or where two are the same, what tells checkpoints apart."""
    names = [Path(cfg.filename).stem for cfg, _ in models]
    if len(set(names)) == len(names):
        return names
    paths = [Path(os.path.abspath(checkpoint)).with_suffix('') for _, checkpoint in models]
    names = told_apart(paths)
    return [name if names.count(name) == 1 else f'{name} #{number}' for number, name in enumerate(names, 1)]


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Print a user's mistake as one line and exit with status 2; a bug keeps its traceback.

    What is stopped by a signal ends in one line, too, see :func:`.stops_in_one_line`. A mistake is a
    :class:`.UsageError`, wherever it surfaces.
    """
    try:
        with stops_in_one_line():
            yield
    except Exception as error:
        mistake = _mistake(error)
        if mistake is None:
            raise
        print(f'error: {mistake}', file=sys.stderr)
        sys.exit(2)


def _mistake(error: BaseException | None) -> BaseException | None:
    """The outermost mistake among an exception and its causes."""
    while error is not None:
        if isinstance(error, UsageError):
            return error
        error = error.__cause__ or error.__context__
    return None
