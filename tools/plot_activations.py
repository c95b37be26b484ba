"""Draw where trained nets look: Grad-CAM side by side on the same images, one PNG for each image.

Of classifiers (mmpretrain) also the head at every place of the last map, of SCNets their calibration, stage
by stage; of detectors (mmdet) the score of the best box.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.launch.cli import add_models, mistakes_in_one_line, names_of, read_models
from inimg_mm.visualization.activation_maps import Viewed
from inimg_mm.visualization.activation_plots import plot_activations
from inimg_mm.visualization.plots import check_matplotlib


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'images', nargs='+', help="files, folders with their subfolders, quoted patterns such as 'a/**/*.jpg'"
    )
    add_models(parser, '--models')
    parser.add_argument('--class', dest='wanted', metavar='NAME', help="default: each net's most likely")
    parser.add_argument(
        '--layer', metavar='NAME', help='what Grad-CAM weighs, e.g. backbone.layer3; default: the last stage'
    )
    parser.add_argument(
        '--out-dir', metavar='DIR', default='work_dirs/activations', help='default: %(default)s'
    )
    args = parser.parse_args()
    with mistakes_in_one_line():
        check_matplotlib()
        models = read_models(args)
        nets = [
            Viewed(cfg, checkpoint, name, args.layer, args.trust)
            for name, (cfg, checkpoint) in zip(names_of(models), models, strict=True)
        ]
        drawn, unreadable = plot_activations(nets, args.images, args.out_dir, args.wanted)
    print(*drawn, sep='\n')
    for path, reason in unreadable.items():
        print(f'error: cannot read {path}: {reason}', file=sys.stderr)
    sys.exit(1 if unreadable else 0)


if __name__ == '__main__':
    main()
