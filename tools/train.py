"""Train a config of any host (mmdet, mmpretrain, mmpose, mmseg)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.launch import train
from inimg_mm.launch.cli import add_launcher, config_parser, mistakes_in_one_line, read_config
from inimg_mm.launch.interrupts import how_to_go_on, stops_in_one_line


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without a value from the newest of the work folder, if any',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (needs an accelerator)')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate from the config's auto_scale_lr.base_batch_size to the real batch",
    )
    parser.add_argument(
        '--compile',
        nargs='?',
        const=True,
        default=False,
        metavar='BACKEND',
        help="compile the training step with torch.compile; default backend: the config's, or inductor",
    )
    parser.add_argument(
        '--skip-corrupt',
        type=int,
        default=0,
        metavar='N',
        help='leave out up to N corrupt images and N broken annotations of the training data; default: none',
    )
    add_launcher(parser)
    args = parser.parse_args()
    with mistakes_in_one_line():
        cfg = read_config(args)
        with stops_in_one_line(lambda: how_to_go_on(cfg.work_dir)):
            train(
                cfg,
                args.resume,
                args.amp,
                args.launcher,
                args.trust,
                auto_scale_lr=args.auto_scale_lr,
                compiler=args.compile,
                skip_corrupt=args.skip_corrupt,
            )


if __name__ == '__main__':
    main()
