"""Train a grid of configs with several seeds, and compare what comes out.

GRID.yml names a config, what is varied in it, and seeds:

    config: configs/demo/se-r18_digits.py
    seeds: [0, 1, 2]
    common: {train_cfg.max_epochs: 6}        # optional: the same for all
    variants:                                # names, and keys of the config that change together
      plain: {model.backbone.type: inimg_mm.ResNet}
      SE: {model.backbone.attention: {type: SE}}
    grid:                                    # or, and: every combination of the values of keys
      model.backbone.depth: [18, 34]
    baseline: plain, depth=18                # optional: with what is compared; default: the first
    metric: accuracy/top1                    # optional

Run it again to go on: what is finished is kept, and a training that was killed goes on from its newest
checkpoint.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.launch.cli import mistakes_in_one_line
from inimg_mm.output_files import write_text
from inimg_mm.studies.ablation import ablate, runs_of
from inimg_mm.studies.ablation_grid import Grid, read_grid
from inimg_mm.studies.ablation_table import csv_lines, markdown, summarise
from inimg_mm.visualization.ablation_plot import plot_ablation
from inimg_mm.visualization.plots import check_matplotlib


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('grid', metavar='GRID.yml')
    parser.add_argument(
        '--work-dir', metavar='DIR', help="of all runs; default: the grid's, or work_dirs/GRID"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--check', action='store_true', help='check the grid and list its cells, train nothing')
    what.add_argument('--report', action='store_true', help='compare what is finished, train nothing')
    args = parser.parse_args()
    with mistakes_in_one_line():
        check_matplotlib()
        grid = read_grid(args.grid, args.work_dir)
        if args.check:
            print(*listed(grid), sep='\n')
            return
        if args.report:
            report(grid, Path(args.grid).stem)
            return
        try:
            ablate(grid)
        finally:
            if any(run.result for run in runs_of(grid)):
                report(grid, Path(args.grid).stem)


def listed(grid: Grid) -> list[str]:
    runs = runs_of(grid)
    lines = [
        f'{cell.name}: {cell.params:,} parameters, '
        f'{"multiply-adds unknown" if cell.macs is None else f"{cell.macs:,} multiply-adds"}, '
        f'{sum(run.result is not None for run in runs if run.cell is cell)} of {len(grid.seeds)} seeds done'
        for cell in grid.cells
    ]
    return [*lines, f'{len(runs)} trainings in {grid.work_dir}']


def report(grid: Grid, title: str) -> None:
    runs = runs_of(grid)
    metric, rows = summarise(runs, grid.metric)
    text = markdown(metric, rows)
    write_text(grid.work_dir / 'table.md', [text + '\n'])
    write_text(grid.work_dir / 'runs.csv', csv_lines(runs))
    print(text)
    print(plot_ablation(metric, rows, grid.work_dir / 'ablation.png', f'Ablation: {title}'))


if __name__ == '__main__':
    main()
