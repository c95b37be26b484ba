"""Make the demo data: digits on photos, for detection, masks, keypoints and classification. No download."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm.datasets.demo import make_demo_data


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('root', nargs='?', default='data/demo', help='folder to make')
    parser.add_argument('--num-train', type=int, default=1200, help='pictures in train.json')
    parser.add_argument('--num-val', type=int, default=200, help='pictures in val.json')
    parser.add_argument(
        '--num-class-train', type=int, default=600, help='pictures a class in classification/train'
    )
    parser.add_argument(
        '--num-class-val', type=int, default=60, help='pictures a class in classification/val'
    )
    parser.add_argument('--seed', type=int, default=0, help='same seed, same bytes')
    parser.add_argument('--force', action='store_true', help='make the set anew if it is there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    start = time.perf_counter()
    try:
        root = make_demo_data(**vars(args))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not ours
            sys.exit(f'error: cannot make the demo data in {args.root}: {error.strerror}')
        sys.exit(f'error: {error}')
    print(f'demo data in {root} ({time.perf_counter() - start:.0f} s)')


if __name__ == '__main__':
    main()
