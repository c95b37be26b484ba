"""Compare gates warm-started from a trained plain ResNet with the same gates from scratch, on one task."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.launch.cli import config_parser, mistakes_in_one_line, read_config
from inimg_mm.studies.gate_gains import compare, table


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--epochs', type=int, default=5, help='epochs of the plain net')
    parser.add_argument('--more', type=int, default=3, help='epochs that follow on it')
    parser.add_argument(
        '--scratch', type=int, metavar='EPOCHS', help='of the nets from scratch; default: both together'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--plain', metavar='CHECKPOINT', help='a plain net that is trained already')
    args = parser.parse_args()
    with mistakes_in_one_line():
        cfg = read_config(args)
        work_dir = Path(cfg.work_dir)
        for seed in args.seeds:
            compare(cfg, work_dir, seed, args.epochs, args.more, args.scratch, args.plain)
        report = table(work_dir, args.seeds)
    (work_dir / 'table.md').write_text(report + '\n')
    print(report)


if __name__ == '__main__':
    main()
