"""Write the weights of a training checkpoint alone, with a hash in the file's name."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.checkpoints.exporting import publish
from inimg_mm.launch.cli import mistakes_in_one_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IN', help='checkpoint file or URL')
    parser.add_argument('target', metavar='OUT', help='file to write; net.pth becomes net-0123abcd.pth')
    parser.add_argument('--trust', action='store_true', help='unpickle IN, which runs code in it')
    parser.add_argument('--force', action='store_true', help='overwrite a file of that name')
    with mistakes_in_one_line():
        print(publish(**vars(parser.parse_args())))


if __name__ == '__main__':
    main()
