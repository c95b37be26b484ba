"""Print a table of trainings: backbone, parameters, metrics, seconds."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm.launch.cli import mistakes_in_one_line
from inimg_mm.studies.demo_report import print_table, summarise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'work_dirs', nargs='+', metavar='WORK_DIR', help='folder of tools/train.py that holds a metrics.json'
    )
    args = parser.parse_args()
    with mistakes_in_one_line():
        print_table([summarise(work_dir) for work_dir in args.work_dirs])


if __name__ == '__main__':
    main()
