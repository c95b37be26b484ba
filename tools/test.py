"""Test a checkpoint, or what a training starts from, with a config of any host."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from mmengine.dist import is_main_process

from inimg_mm.errors import UsageError
from inimg_mm.inference.exclusion import exclude_images
from inimg_mm.inference.multi_crop import CROPS, use_crops
from inimg_mm.launch import evaluate
from inimg_mm.launch.cli import add_launcher, config_parser, mistakes_in_one_line, read_config
from inimg_mm.output_files import check_output, json_text, write_text


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file or URL; default: what a training would start from, its init_cfg and load_from',
    )
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions into this folder')
    parser.add_argument('--out', metavar='FILE.json', type=Path, help='write the metrics to this file')
    parser.add_argument(
        '--predictions',
        metavar='FILE.json',
        type=Path,
        help='write what the model predicts to this file: boxes, masks and keypoints as COCO results, with '
        'the images in FILE.images.json; classes with all scores; class maps as PNG files in FILE_maps/',
    )
    parser.add_argument(
        '--tta',
        choices=CROPS,
        help="of mmpretrain: average the probabilities over crops of each image, in the papers' protocols",
    )
    parser.add_argument(
        '--exclude-list',
        metavar='FILE',
        help='of mmpretrain: give the metrics also without the images whose numbers, from 1, this list has',
    )
    add_launcher(parser)
    args = parser.parse_args()
    with mistakes_in_one_line():
        if args.out is not None:
            args.out = check_output(args.out)
            if args.predictions is not None and args.out == args.predictions.absolute():
                raise UsageError('--out and --predictions name the same file')
        cfg = read_config(args)
        if args.tta is not None:
            use_crops(cfg, args.tta)
        if args.exclude_list is not None:
            exclude_images(cfg, args.exclude_list)
        metrics = evaluate(cfg, args.checkpoint, args.show_dir, args.launcher, args.trust, args.predictions)
        if args.out is not None and is_main_process():
            write_text(args.out, [json_text(metrics, indent=2) + '\n'])


if __name__ == '__main__':
    main()
