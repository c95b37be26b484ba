"""Draw what a model predicts on images: boxes, masks, keypoints, classes or class maps.

The pictures go to --out-dir, all predictions to predictions.json there (boxes, masks and keypoints as COCO
results, with the images in predictions.images.json). Images go through the config's test pipeline; with its
usual loader they are turned as their EXIF data say, transparency is left out, grey becomes three channels
and 16 bits become 8. An image that cannot be read is named at the end, and the exit status is 1.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.inference import BoxSource, infer
from inimg_mm.launch import load_config
from inimg_mm.launch.cli import config_parser, mistakes_in_one_line, read_config


def main() -> None:
    parser = config_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        'images',
        nargs='+',
        help="files, folders with their subfolders, quoted patterns such as 'a/**/*.jpg'",
    )
    parser.add_argument('--out-dir', metavar='DIR', help='default: infer/ in the work folder')
    parser.add_argument(
        '--score-thr',
        type=float,
        metavar='SCORE',
        help='least score of what is drawn: a box or mask, a keypoint (default for these 0.3), a class; '
        'predictions.json has all',
    )
    parser.add_argument('--device', help="e.g. cpu, cuda:1; default: the accelerator, if there's one")
    parser.add_argument(
        '--batch-size',
        type=int,
        default=1,
        metavar='N',
        help='images at once, of a top-down keypoint model boxes; default: %(default)s',
    )
    boxes = parser.add_argument_group(
        'boxes', 'where a top-down keypoint model looks; default: each image is one object'
    )
    boxes.add_argument(
        '--boxes', metavar='FILE.json', help='COCO detection results, as infer.py and test.py write them'
    )
    boxes.add_argument('--det-config', metavar='CONFIG', help='config of an mmdet detector')
    boxes.add_argument('--det-checkpoint', metavar='CHECKPOINT', help='its checkpoint')
    boxes.add_argument('--box-thr', type=float, metavar='SCORE', help='least score of a box; default: 0.3')
    boxes.add_argument(
        '--box-nms', type=float, metavar='IOU', help='most overlap with a better box; default: 0.3'
    )
    boxes.add_argument(
        '--box-classes', nargs='+', metavar='NAME', help="default: 'person' where it is known, else all"
    )
    args = parser.parse_args()
    with mistakes_in_one_line():
        cfg = read_config(args)
        done = infer(
            cfg,
            args.checkpoint,
            args.images,
            args.out_dir or Path(cfg.work_dir, 'infer'),
            score_thr=args.score_thr,
            device=args.device,
            batch_size=args.batch_size,
            trust=args.trust,
            boxes=BoxSource(
                file=args.boxes,
                detector=load_config(args.det_config) if args.det_config else None,
                checkpoint=args.det_checkpoint,
                score_thr=args.box_thr,
                overlap_thr=args.box_nms,
                classes=args.box_classes,
            ),
        )
    if done.predictions is not None:
        print(f'{len(done.pictures)} pictures and {done.predictions.name} are in {done.predictions.parent}')
    for path, reason in done.unreadable.items():
        print(f'error: cannot read {path}: {reason}', file=sys.stderr)
    sys.exit(1 if done.unreadable else 0)


if __name__ == '__main__':
    main()
