"""Compare trainings of any host by their work folders: learning curves and last metrics so far."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.launch.cli import mistakes_in_one_line
from inimg_mm.output_files import check_folder, write_text
from inimg_mm.studies.runs import chosen_metrics, csv_lines, final_table, read_runs
from inimg_mm.visualization.plots import check_matplotlib
from inimg_mm.visualization.run_plots import plot_runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='folder of a training')
    parser.add_argument(
        '--metrics', nargs='+', metavar='NAME', help='e.g. coco/bbox_mAP_75; default: the main ones'
    )
    parser.add_argument('--out-dir', metavar='DIR', default='work_dirs/compared', help='default: %(default)s')
    args = parser.parse_args()
    with mistakes_in_one_line():
        check_matplotlib()
        runs = read_runs(args.work_dirs)
        metrics = chosen_metrics(runs, args.metrics)
        out_dir = check_folder(args.out_dir)
        write_text(out_dir / 'curves.csv', csv_lines(runs))
        picture = plot_runs(runs, metrics, out_dir / 'curves.png')
    print(final_table(runs, metrics), picture, sep='\n\n')


if __name__ == '__main__':
    main()
