"""Parameters of the nets for CIFAR with a 10-way classifier, of the ImageNet ones with 1,000 classes."""

import pytest
import torch

from inimg_mm.registry import MODELS

SE = dict(type='SE')
DOUBLE_FC, PAIR_2X1, PAIR_1X1 = (
    dict(type='CMPESE', view=view) for view in ('double_fc', 'pair_2x1', 'pair_1x1')
)
BARE = dict(stem_norm=True, stem_relu=True, final_norm=False)
EXACT = {
    # pytorchcv's counts, by which its published weights go
    'PreResNet-110': (dict(type='PreActResNet', depth=110), 1_730_522),
    'PreResNet-164': (dict(type='PreActResNet', depth=164), 1_703_258),
    'PreResNet-1001': (dict(type='PreActResNet', depth=1001), 10_327_706),
    'SE-PreResNet-164': (dict(type='PreActResNet', depth=164, attention=SE, **BARE), 1_904_882),
    'SE-PreResNet-164 of the papers': (dict(type='PreActResNet', depth=164, attention=SE), 1_905_362),
    'PreResNet-50': (dict(type='PreActResNet', depth=50), 25_549_480),
    'WRN-16-10': (dict(type='WideResNet', depth=16, widen_factor=10), 17_116_634),
    'WRN-28-10': (dict(type='WideResNet', depth=28, widen_factor=10), 36_479_194),
    'WRN-40-8': (dict(type='WideResNet', depth=40, widen_factor=8), 35_748_314),
    'PyramidNet-110 a48': (dict(type='PyramidNet', depth=110, alpha=48), 1_772_706),
    'PyramidNet-110 a84': (dict(type='PyramidNet', depth=110, alpha=84), 3_904_446),
    'PyramidNet-110 a270': (dict(type='PyramidNet', depth=110, alpha=270), 28_485_477),
    'PyramidNet-164 a270': (dict(type='PyramidNet', depth=164, alpha=270), 27_216_021),
    'PyramidNet-200 a240': (dict(type='PyramidNet', depth=200, alpha=240), 26_752_702),
    'PyramidNet-272 a200': (dict(type='PyramidNet', depth=272, alpha=200), 26_210_842),
    'PyramidNet-101 a360': (dict(type='PyramidNet', depth=101, alpha=360), 42_455_070),
}
IN_MILLIONS = {
    # CMPE-SE's paper (arXiv 1807.08920): (net, its figure, ours)
    'WRN-22-10': (dict(type='WideResNet', depth=22, widen_factor=10), None, 26.8, 26.80),
    'SE-WRN-22-10': (dict(type='WideResNet', depth=22, widen_factor=10), SE, 27.0, 27.00),
    'CMPE-SE-WRN-22-10 1x1': (dict(type='WideResNet', depth=22, widen_factor=10), PAIR_1X1, 27.1, 27.10),
    'CMPE-SE-WRN-16-8 1x1': (dict(type='WideResNet', depth=16, widen_factor=8), PAIR_1X1, 11.1, 11.09),
    'SE-WRN-28-10': (dict(type='WideResNet', depth=28, widen_factor=10), SE, 36.8, 36.75),
    'CMPE-SE-WRN-28-10 double FC': (
        dict(type='WideResNet', depth=28, widen_factor=10),
        DOUBLE_FC,
        37.0,
        37.02,
    ),
    'CMPE-SE-WRN-28-10 2x1': (dict(type='WideResNet', depth=28, widen_factor=10), PAIR_2X1, 36.8, 36.75),
    'CMPE-SE-WRN-28-10 1x1': (dict(type='WideResNet', depth=28, widen_factor=10), PAIR_1X1, 36.9, 36.88),
    # the paper's own counts do not follow from its authors' blocks
    'SE-ResNet-110': (dict(type='PreActResNet', depth=110), SE, 1.75, 1.74),
    'CMPE-SE-110 1x1': (dict(type='PreActResNet', depth=110), PAIR_1X1, 1.76, 1.75),
    'SE-ResNet-164': (dict(type='PreActResNet', depth=164), SE, 1.95, 1.91),
    'CMPE-SE-164 double FC': (dict(type='PreActResNet', depth=164), DOUBLE_FC, 2.12, 2.09),
    'CMPE-SE-164 2x1': (dict(type='PreActResNet', depth=164), PAIR_2X1, 1.95, 1.90),
    'CMPE-SE-164 1x1': (dict(type='PreActResNet', depth=164), PAIR_1X1, 2.04, 1.99),
}


def parameters(config):
    """Of the backbone and a fully connected layer, without memory behind them."""
    with torch.device('meta'):
        net = MODELS.build(dict(config, type=f'inimg_mm.{config["type"]}'))
    classes = 1000 if len(net.depths) == 4 else 10
    return sum(p.numel() for p in net.parameters()) + (net.out_channels[-1] + 1) * classes


@pytest.mark.parametrize('name', EXACT)
def test_exact_counts(name):
    config, count = EXACT[name]
    assert parameters(config) == count


@pytest.mark.parametrize('name', IN_MILLIONS)
def test_counts_beside_the_papers(name):
    config, attention, paper, ours = IN_MILLIONS[name]
    count = parameters(dict(config, attention=attention)) / 1e6
    assert round(count, 2) == ours
    print(f'{name}: {count:.3f} M, the paper says {paper} M')
    assert count == pytest.approx(paper, rel=0.03)
