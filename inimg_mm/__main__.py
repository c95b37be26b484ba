"""``python -m inimg_mm``: what came with the package."""

import argparse
import sys
from pathlib import Path

from inimg_mm import catalogue
from inimg_mm.errors import UsageError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog='python -m inimg_mm', description='What came with the package.')
    commands = parser.add_subparsers(dest='command', title='commands')
    configs = commands.add_parser(
        'configs', help='list the configs, or copy one to edit', description=_configs.__doc__
    )
    configs.add_argument(
        'pattern',
        nargs='?',
        help='a glob over TASK/NAME, or a part of the task, name, host, model or backbone; default: all',
    )
    configs.add_argument(
        '--copy',
        nargs='+',
        metavar=('NAME', 'DEST'),
        help='write this config, complete in itself, to DEST: a file or folder; default: ./NAME.py',
    )
    configs.add_argument('--force', action='store_true', help='let --copy overwrite a file')
    fused = commands.add_parser(
        'fused', help='say which blocks of a config are fused on a GPU, and why', description=_fused.__doc__
    )
    fused.add_argument('config', help='config file of any host (mmdet, mmpretrain, mmpose, mmseg)')
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        return 0
    if args.command == 'fused':
        _fused(args.config)
        return 0
    if args.copy and (args.pattern or len(args.copy) > 2):
        configs.error('--copy takes the NAME of one config and, at most, where to write it')
    try:
        _configs(args.pattern, args.copy, args.force)
    except UsageError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


def _configs(pattern: str | None, copy: list[str] | None, force: bool) -> None:
    """List the configs that came with the package, or copy one to edit.

    Accuracies are the papers', not measured here. Multiply-adds are those of one test image.
    """
    if copy is None:
        print(catalogue.listing(catalogue.find(pattern)))
        return
    entry = catalogue.get(copy[0])

    from inimg_mm.catalogue.copying import copy_config, next_steps
    from inimg_mm.launch.cli import mistakes_in_one_line

    with mistakes_in_one_line():
        path = copy_config(entry, Path(copy[1]) if len(copy) > 1 else Path(), force)
    print(f'wrote {path}, which needs no other file of the package. Edit it, then:')
    for step in next_steps(entry, path):
        print(f'  {step}')


def _fused(config: str) -> None:
    """Say for a model's stem and every block which form it takes in training with fused='auto', and why.

    The model is built and not trained. Fused operations have not been measured on a GPU yet.
    """
    from inimg_mm.launch.cli import mistakes_in_one_line
    from inimg_mm.launch.configs import load_config
    from inimg_mm.models.backbones.block_forms import block_forms, machine_form
    from inimg_mm.registry import build_model

    with mistakes_in_one_line():
        forms = list(block_forms(build_model(load_config(config)).train(), switch='auto'))
    print(f'This machine: {machine_form()}.')
    print(
        "On a GPU that can, with model.backbone.fused='auto':"
        if forms
        else 'There is no residual block of this package in the model.'
    )
    for name, form in forms:
        print(f'  {name:24} {form}')


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BrokenPipeError:  # of `| head`
        sys.stdout = None
        sys.exit(1)
