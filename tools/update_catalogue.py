"""Bring the metafiles, the model index and the tables of configs/ up to date (a second or two a config)."""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm.catalogue import home
from inimg_mm.catalogue.config_tables import config_table
from inimg_mm.catalogue.metafiles import update_metafiles
from inimg_mm.launch.cli import mistakes_in_one_line
from inimg_mm.zoo.tables import fill_file


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with mistakes_in_one_line():
        configs = home() / 'configs'
        changed = update_metafiles(configs, lambda path: print(path.relative_to(configs), file=sys.stderr))
        readmes = [
            path for path in sorted(configs.glob('*/README.md')) if '<!-- configs -->' in path.read_text()
        ]
        changed += [
            path for path in readmes if fill_file(path, {'configs': partial(config_table, path.parent.name)})
        ]
    for path in changed:
        print(f'updated {path.relative_to(configs)}')
    if not changed:
        print('all up to date')


if __name__ == '__main__':
    main()
