"""Write a checkpoint in another project's names; a whole model stays one where those are a host's or ours."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.checkpoints import LAYOUTS
from inimg_mm.checkpoints.exporting import convert
from inimg_mm.launch.cli import mistakes_in_one_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IN', help='checkpoint file or URL')
    parser.add_argument('target', metavar='OUT', help='file to write; .safetensors or .pth')
    parser.add_argument('--to', required=True, choices=LAYOUTS, help='whose names to write')
    parser.add_argument(
        '--from',
        dest='layout',
        choices=['auto', *LAYOUTS],
        default='auto',
        help='whose names IN has; default: detect it',
    )
    parser.add_argument('--backbone-only', action='store_true', help='leave all but the backbone out')
    parser.add_argument('--trust', action='store_true', help='unpickle IN, which runs code in it')
    parser.add_argument('--force', action='store_true', help='overwrite OUT')
    with mistakes_in_one_line():
        print(convert(**vars(parser.parse_args())))


if __name__ == '__main__':
    main()
