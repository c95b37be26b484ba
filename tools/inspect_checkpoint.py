"""Say what is in a checkpoint, whose names it uses, and which models of the zoo it fits."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.checkpoints.inspecting import inspect
from inimg_mm.launch.cli import mistakes_in_one_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='FILE', help='checkpoint file or URL')
    parser.add_argument('--trust', action='store_true', help='unpickle FILE, which runs code in it')
    with mistakes_in_one_line():
        print(inspect(**vars(parser.parse_args())))


if __name__ == '__main__':
    main()
