"""Measure what launching fused kernels costs the host: Triton's way and the short one, without a card.

A driver that stands for a card takes the launches of a block's training step, and nothing runs: neither a
card nor Triton's launchers in C are in the numbers. Maps are small and few, which launching does not notice;
the step's other operations, convolutions on the CPU, are in the times of whole steps. The two ways take turns
in every round. What asks for the short way is INIMG_MM_FAST_LAUNCH=1.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inimg_mm import startup

startup.begin()

import torch

from inimg_mm import zoo
from inimg_mm.errors import UsageError
from inimg_mm.launch.cli import mistakes_in_one_line
from inimg_mm.models.checks import positive_integer
from inimg_mm.models.fused import launcher
from inimg_mm.studies.benchmark_table import command_line, machine, machine_lines

MODELS = ('seresnet50', 'cmpese_resnet50_double_fc')
"""Whose second block is measured: a bottleneck with one stream, and one with two."""
COLUMNS = [
    *('block of', 'launches', "a launch, Triton's way", 'short way', "all launches, Triton's way"),
    *('short way', 'ratio', "the step, Triton's way", 'short way', 'ratio'),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=200, metavar='N', help='default: %(default)s')
    args = parser.parse_args()
    with mistakes_in_one_line():
        run(positive_integer('--rounds', args.rounds))


def run(rounds: int) -> None:
    reason = launcher.obstacle()
    if reason is not None:
        raise UsageError(f'there is no short way: {reason}')
    torch.set_num_threads(1)
    facts = machine('cpu')
    rows = [[name, *row(name, rounds)] for name in MODELS]
    print(f'`{command_line()}`: microseconds, medians of {rounds} rounds', end='\n\n')
    for cells in (COLUMNS, ['---', *['---:'] * (len(COLUMNS) - 1)], *rows):
        print(f'| {" | ".join(cells)} |')
    print('', *machine_lines(facts), sep='\n')


def row(name: str, rounds: int) -> list[str]:
    from inimg_mm.studies.launches import cost, stand_in

    net = zoo.build(name, fused=True, base_channels=16, stem_channels=16)
    block = net.layer1[1].train().to(memory_format=torch.channels_last)
    x = torch.randn(2, 64, 7, 7).contiguous(memory_format=torch.channels_last).requires_grad_()
    with stand_in():
        found = cost(lambda: block(x).sum().backward(), rounds)
    cells = [str(found.number), *(f'{each / found.number:.1f}' for each in found.launches)]
    for own, short in (found.launches, found.step):
        cells += [f'{own:.0f}', f'{short:.0f}', f'{short / own:.2f}']
    return cells


if __name__ == '__main__':
    main()
