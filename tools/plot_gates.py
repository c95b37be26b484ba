"""Plot what the channel gates of trained models give, by channel and by depth.

The models are of any host. Each runs on images of its own config's test set: some of a few classes, and
some of all.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.launch.cli import add_models, mistakes_in_one_line, names_of, read_models
from inimg_mm.visualization.gate_plots import plot_gates
from inimg_mm.visualization.gate_values import claims, gate_values
from inimg_mm.visualization.plots import check_matplotlib


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument('--out-dir', metavar='DIR', default='work_dirs/gates', help='default: %(default)s')
    parser.add_argument('--classes', type=int, default=4, help='classes drawn; default: %(default)s')
    parser.add_argument('--images', type=int, default=50, help='images of each; default: %(default)s')
    parser.add_argument(
        '--images-of-all', type=int, default=200, help='images for the mean of all; default: %(default)s'
    )
    parser.add_argument('--channels', type=int, default=50, help='channels drawn; default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='of all that is drawn; default: %(default)s')
    args = parser.parse_args()
    with mistakes_in_one_line():
        check_matplotlib()
        models = read_models(args)
        drawn = dict(classes=args.classes, images=args.images, overall=args.images_of_all, seed=args.seed)
        nets = [
            gate_values(cfg, checkpoint, name, trust=args.trust, **drawn)
            for name, (cfg, checkpoint) in zip(names_of(models), models, strict=True)
        ]
        files = plot_gates(nets, args.out_dir, args.channels, args.seed)
    print(*claims(nets), *files, sep='\n')


if __name__ == '__main__':
    main()
