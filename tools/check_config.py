"""Check that a config trains: its data, its parts, its weights, and one step."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.checking.config import check_config
from inimg_mm.checking.data import print_summaries
from inimg_mm.checking.findings import print_findings
from inimg_mm.data_files.summary import summarise
from inimg_mm.engine.hooks.corrupt_data.corrupt_data import guard_as_a_training
from inimg_mm.launch.cli import config_parser, mistakes_in_one_line, read_config


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--checkpoint', help='check too whether this checkpoint fills the whole model')
    parser.add_argument('--no-init', action='store_true', help='do not load what init_cfg names')
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('W', 'H'), help='of the random images, in pixels'
    )
    parser.add_argument(
        '--images',
        action='store_true',
        help='read every image of the data, and count the pixels of label maps',
    )
    args = parser.parse_args()
    with mistakes_in_one_line():
        size = tuple(args.size) if args.size else None
        cfg = read_config(args)
        data = summarise(cfg, args.images)
        print_summaries(data)
        findings = check_config(cfg, args.checkpoint, not args.no_init, size, args.trust, guard_as_a_training)
    print_findings(findings)
    sys.exit(any(finding.fault for finding in findings) or any(one.faults for one in data))


if __name__ == '__main__':
    main()
