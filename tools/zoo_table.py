"""Print the table of backbones and the table of gates, or bring those in a Markdown file up to date."""

import argparse
from pathlib import Path

from inimg_mm.zoo.tables import TABLES, fill_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--write', type=Path, metavar='FILE', help='update the tables in this Markdown file')
    args = parser.parse_args()
    if args.write:
        print(f'{args.write}: {"updated" if fill_file(args.write) else "up to date"}')
        return
    for table in TABLES.values():
        print(table(), end='\n\n')


if __name__ == '__main__':
    main()
