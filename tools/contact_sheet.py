"""Draw annotations beside predictions, as one PNG, for a config of mmdet, mmpretrain or mmpose."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.launch.cli import config_parser, mistakes_in_one_line, read_config
from inimg_mm.visualization import contact_sheet


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', metavar='FILE.png', default='contact_sheet.png', help='default: %(default)s')
    parser.add_argument('--num-images', type=int, default=12, help='default: %(default)s')
    parser.add_argument(
        '--score-thr', type=float, default=0.5, help='least score of a detection; default: %(default)s'
    )
    args = parser.parse_args()
    with mistakes_in_one_line():
        path = contact_sheet(
            read_config(args),
            args.checkpoint,
            args.out,
            num_images=args.num_images,
            score_thr=args.score_thr,
            trust=args.trust,
        )
    print(path)


if __name__ == '__main__':
    main()
