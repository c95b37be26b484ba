"""Time backbones against each other and against those of other projects: training steps or inference.

A net is one of the zoo (seresnet50), or another project's: torchvision:resnet50, timm:seresnet50,
mmdet:ResNet-50, mmpretrain:SEResNet-50, mmpose:SCNet-50, mmseg:ResNetV1c-50, pytorchcv:seresnet50, or
file:PATH.py:CALLABLE for what a function of yours gives. Weights are random; nothing is fetched. The first
one is what the others are compared with.

Where --batch, --sizes or --widths have several values, the first of each is measured, and each further one
with the first of the others; a plot shows what grows.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

import torch

from inimg_mm.launch.cli import mistakes_in_one_line
from inimg_mm.models.checks import positive_integer
from inimg_mm.output_files import check_folder, json_text, write_text
from inimg_mm.studies.benchmark import benchmark
from inimg_mm.studies.benchmark_settings import DTYPES, MODES, Settings, points_of
from inimg_mm.studies.benchmark_table import command_line, machine, machine_lines, reading, record, table
from inimg_mm.visualization.benchmark_plot import plot_benchmark
from inimg_mm.visualization.plots import check_matplotlib


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--models', nargs='+', required=True, metavar='NET', help='see above')
    parser.add_argument('--mode', choices=MODES, default='train', help='default: %(default)s')
    parser.add_argument('--batch', type=int, nargs='+', default=[8], metavar='N', help='default: 8')
    parser.add_argument(
        '--sizes',
        type=size,
        nargs='+',
        default=[(224, 224)],
        metavar='SIDE|HxW',
        help='of images; default: 224',
    )
    parser.add_argument(
        '--widths',
        type=int,
        nargs='+',
        default=[],
        metavar='N',
        help="base channels; default: each net's own",
    )
    parser.add_argument('--norm-eval', action='store_true', help='batch norms in eval mode while training')
    parser.add_argument('--channels-last', action='store_true', help='maps in channels_last; default: NCHW')
    parser.add_argument('--compile', nargs='?', const='inductor', metavar='BACKEND', help='default: inductor')
    parser.add_argument('--graph', action='store_true', help='each step as one CUDA graph (needs a GPU)')
    parser.add_argument(
        '--fused', nargs='?', const='auto', choices=['auto', 'True'], help="zoo models' fused; default: auto"
    )
    parser.add_argument('--dtype', choices=list(DTYPES), default='float32', help='default: %(default)s')
    parser.add_argument('--threads', type=int, metavar='N', help="of the CPU; default: torch's choice")
    parser.add_argument('--rounds', type=int, default=10, metavar='N', help='default: %(default)s')
    parser.add_argument('--warm-ups', type=int, default=2, metavar='N', help='default: %(default)s')
    parser.add_argument(
        '--out-dir', metavar='DIR', default='work_dirs/benchmark', help='default: %(default)s'
    )
    args = parser.parse_args()
    with mistakes_in_one_line():
        run(args)


def size(text: str) -> tuple[int, int]:
    height, _, width = text.partition('x')
    return int(height), int(width or height)


def run(args: argparse.Namespace) -> None:
    check_matplotlib()
    settings = Settings(
        mode=args.mode,
        norm_eval=args.norm_eval,
        channels_last=args.channels_last,
        compiler=args.compile,
        graph=args.graph,
        fused={None: False, 'auto': 'auto', 'True': True}[args.fused],
        dtype=args.dtype,
        rounds=args.rounds,
        warm_ups=args.warm_ups,
        device='cuda' if torch.cuda.is_available() else 'cpu',
    )
    points = points_of(args.batch, args.sizes, args.widths)
    if args.threads is not None:
        torch.set_num_threads(positive_integer('--threads', args.threads))
    out_dir, command = check_folder(args.out_dir), command_line()
    facts = machine(settings.device)
    print(*machine_lines(facts), sep='\n')
    tables, results = [], []
    for found in benchmark(args.models, points, settings):
        results += found
        tables.append(table(found[0].point, settings, found))
        facts['load'][1:] = [os.getloadavg()]
        write_text(
            out_dir / 'benchmark.json', [json_text(record(command, facts, settings, results), indent=1)]
        )
    report = [*tables, reading(settings, args.models), '\n'.join(machine_lines(facts))]
    write_text(out_dir / 'benchmark.md', ['\n\n'.join([f'`{command}`', *report]) + '\n'])
    print('', *report, sep='\n\n')
    picture = plot_benchmark(results, out_dir / 'benchmark.png', f'{settings.mode}, {settings.dtype}')
    print(
        '',
        picture or 'nothing grows (several of --sizes, --batch or --widths), so nothing is drawn',
        sep='\n',
    )


if __name__ == '__main__':
    main()
