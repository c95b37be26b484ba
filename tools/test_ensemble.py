"""Test classifiers of mmpretrain alone and together: the mean of their probabilities."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

from inimg_mm.inference.ensemble import evaluate_ensemble
from inimg_mm.inference.multi_crop import CROPS
from inimg_mm.launch.cli import add_models, mistakes_in_one_line, read_models
from inimg_mm.output_files import check_output, json_text, write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument('--tta', choices=CROPS, help='average over crops of each image, too')
    parser.add_argument(
        '--exclude-list',
        metavar='FILE',
        help='give the metrics also without the images whose numbers, from 1, this list has',
    )
    parser.add_argument('--out', metavar='FILE.json', type=Path, help='write the metrics to this file')
    args = parser.parse_args()
    with mistakes_in_one_line():
        out = None if args.out is None else check_output(args.out)
        members = read_models(args)
        found = evaluate_ensemble(members, args.tta, args.exclude_list, args.trust)
        for (_, checkpoint), metrics in zip(members, found.members, strict=True):
            print(checkpoint, *(f'{name}: {value:.4f}' for name, value in metrics.items()), sep='  ')
        together = (f'{name}: {value:.4f}' for name, value in found.together.items())
        print(f'{len(members)} models together', *together, sep='  ')
        if out is not None:
            write_text(out, [json_text(found._asdict(), indent=2) + '\n'])


if __name__ == '__main__':
    main()
