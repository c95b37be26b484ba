"""Test a checkpoint with a config of any host (mmdet, mmpretrain, mmpose, mmseg)."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mmengine.dist import is_main_process

from inimg_mm.engine import evaluate
from inimg_mm.engine.cli import add_launcher, config_parser, mistakes_in_one_line, read_config


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions into this folder')
    parser.add_argument('--out', metavar='FILE.json', type=Path, help='write the metrics to this file')
    add_launcher(parser)
    args = parser.parse_args()
    with mistakes_in_one_line():
        metrics = evaluate(read_config(args), args.checkpoint, args.show_dir, args.launcher, args.trust)
    if args.out and is_main_process():
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(metrics, indent=2, default=float) + '\n')


if __name__ == '__main__':
    main()
