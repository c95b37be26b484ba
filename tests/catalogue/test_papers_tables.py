"""The papers' tables in the READMEs: each row builds the net whose size stands beside the paper's."""

import argparse

import pytest
from mmengine.config import DictAction

from helpers.nets import count_parameters
from helpers.tooling import ROOT
from inimg_mm.launch import load_config

pytest.importorskip('mmpretrain', reason='the configs are of mmpretrain (extra mm)')


def rows(task, name):
    """The cells of a table's rows."""
    text = (ROOT / 'configs' / task / 'README.md').read_text()
    table = text.split(f'<!-- {name} -->')[1].split(f'<!-- end {name} -->')[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in row.strip('|').split('|')] for row in table]


def parsed(options):
    """What tools/train.py makes of ``--cfg-options``."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    return parser.parse_args(['--cfg-options', *options.strip('`').split()] if options else []).cfg_options


def assert_size(cfg, paper, ours, tolerance):
    millions = count_parameters(cfg) / 1e6
    assert f'{millions:.2f}' == ours
    if paper:
        assert millions == pytest.approx(float(paper), rel=tolerance)


@pytest.mark.parametrize('row', rows('cifar', 'papers'), ids=lambda row: row[0])
def test_cifar(row):
    _, name, options, *errors, paper, ours = row
    path = ROOT / 'configs' / 'cifar' / f'{name}_1xb128_cifar10.py'
    assert (path.parent / f'{name}_1xb128_cifar100.py').is_file()
    cfg = load_config(path, parsed(options))
    assert_size(cfg, paper, ours, tolerance=0.03)
    figures = [float(error) for error in errors if error]
    assert figures
    assert all(1 < error < 30 for error in figures)


@pytest.mark.parametrize('row', rows('imagenet', 'ablations'), ids=lambda row: row[0])
def test_senets_ablations(row):
    _, options, _, _, paper, ours = row
    cfg = load_config(ROOT / 'configs' / 'imagenet' / 'se-r50-ablations_32xb32_in1k.py', parsed(options))
    assert_size(cfg, paper, ours, tolerance=0.005)


def test_senets_ablations_train_longer_with_smoothed_labels():
    for name in ('r50', 'se-r50'):
        cfg = load_config(ROOT / 'configs' / 'imagenet' / f'{name}-ablations_32xb32_in1k.py')
        assert cfg.train_cfg.max_epochs == 270
        assert cfg.param_scheduler.milestones == [125, 200, 250]
        assert cfg.optim_wrapper.optimizer.lr == 0.6
        assert cfg.model.head.loss.type == 'LabelSmoothLoss'
        assert cfg.model.backbone.depth == 50
