"""The backbones by name: what to build, and what was published about it.

Figures here are the papers' or the reference implementations', never measured by this
package; ``tools/zoo_table.py`` computes parameters and multiply-adds of what is built.
"""

import copy
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from inimg_mm.errors import UsageError

if TYPE_CHECKING:
    from inimg_mm.models.backbones import Backbone

RESNET, RESNEXT, BAG_OF_TRICKS = '1512.03385', '1611.05431', '1812.01187'
PREACT, WIDE, PYRAMID, INCEPTION = '1603.05027', '1605.07146', '1610.02915', '1512.00567'
SENET, CMPE_SE, INNER_IMAGING = '1709.01507', '1807.08920', '1904.12639'
SCNET = 'CVPR 2020'


@dataclass(frozen=True)
class Model:
    """One backbone.

    Attributes:
        config: Config of the backbone, ``type`` included.
        paper: arXiv number, or conference, of the paper that describes the net.
        params: Parameters with the classifier, as the reference implementation
            (torchvision's, timm's, pytorchcv's or the authors') counts them.
        gmacs: The paper's multiply-adds at 224x224, in G.
        top1: The paper's ImageNet top-1 accuracy, single crop, in %.
        top1_from: Another paper that ``top1`` is from: SENet's, which trained the plain nets anew to compare
            its own with.
        cifar: Top-1 accuracies in % by data set, 'CIFAR-10' or 'CIFAR-100', and 'with mixup'.
        image_size: Height and width in pixels of the images that the net is for.
        classes: Width of the classifier.
        weights: Where ImageNet weights are published: the authors', for SE mmpretrain's (not fetched, not
            checked here).
        box_ap: COCO val2017 box AP of Faster R-CNN with FPN, 1x, in %, in SCNet's paper.
        mask_ap: COCO val2017 mask AP of Mask R-CNN with FPN, 1x, in %, in SCNet's paper.
    """

    config: dict[str, Any] = field(repr=False)
    paper: str
    params: int | None = None
    gmacs: float | None = None
    top1: float | None = None
    weights: str | None = None
    box_ap: float | None = None
    mask_ap: float | None = None
    top1_from: str | None = None
    cifar: dict[str, float] = field(default_factory=dict, repr=False)
    image_size: int = 224
    classes: int = 1000


def _config(family: str, depth: int, **options: Any) -> dict[str, Any]:
    return dict(type=f'inimg_mm.{family}', depth=depth, **options)


def _cmpe_se(view: str) -> Model:
    return Model(_config('CMPESEResNet', 50, attention=dict(type='CMPESE', view=view)), CMPE_SE)


def _inner_imaging(**options: Any) -> Model:
    return Model(
        _config('InnerImagingResNet', 50, attention=dict(type='InnerImaging', **options)), INNER_IMAGING
    )


def _inception(params: int | None = None, top1: float | None = None, **options: Any) -> Model:
    config = dict(type='inimg_mm.InceptionV3', **options)
    return Model(config, INCEPTION, params, top1=top1, image_size=299)


def _cifar(config: dict[str, Any], paper: str, params: int | None = None, **errors: float) -> Model:
    """A net for images of 32 pixels; errors in %, as tables have them: ``c10``, ``c100_mixup``, …."""
    names = {'c10': 'CIFAR-10', 'c100': 'CIFAR-100', 'mixup': 'with mixup'}
    accuracies = {
        ' '.join(names[part] for part in key.split('_')): round(100 - error, 2)
        for key, error in errors.items()
    }
    return Model(config, paper, params, cifar=accuracies, image_size=32, classes=10)


def _preact(depth: int, **options: Any) -> dict[str, Any]:
    return _config('PreActResNet', depth, **options)


def _wide(depth: int, widen_factor: int, **options: Any) -> dict[str, Any]:
    return _config('WideResNet', depth, widen_factor=widen_factor, **options)


def _pyramid(depth: int, alpha: int, **options: Any) -> dict[str, Any]:
    return _config('PyramidNet', depth, alpha=alpha, **options)


AUTHORS = 'https://backseason.oss-cn-beijing.aliyuncs.com/scnet'
MMPRETRAIN = 'https://mmassets.onedl.ai/mmclassification/v0/se-resnet'
V1D = dict(deep_stem=True, avg_down=True)
NEXT = dict(groups=32, base_width=4)
SE, SE_WITHOUT_BIAS, INI = dict(type='SE'), dict(type='SE', bias=False), dict(type='InnerImaging')
PAIR_1X1 = dict(type='CMPESE', view='pair_1x1')
COMPETITIVE, COMPETITIVE_WIDE = dict(input_norm=True), dict(input_norm=True, stem_norm=True)
"""The norms around the stem in the CIFAR nets of CMPE-SE's authors."""

MODELS: dict[str, Model] = {
    'resnet18': Model(_config('ResNet', 18), RESNET, 11_689_512, 1.8),
    'resnet34': Model(_config('ResNet', 34), RESNET, 21_797_672, 3.6),
    'resnet50': Model(_config('ResNet', 50), RESNET, 25_557_032, 3.8, 75.20, None, 37.6, 35.0, SENET),
    'resnet101': Model(_config('ResNet', 101), RESNET, 44_549_160, 7.6, 76.83, None, 39.9, 36.7, SENET),
    'resnet152': Model(_config('ResNet', 152), RESNET, 60_192_808, 11.3, 77.58, top1_from=SENET),
    'resnet50_v1d': Model(_config('ResNet', 50, **V1D), BAG_OF_TRICKS, 25_576_264, 4.3, 77.16),
    'resnet101_v1d': Model(_config('ResNet', 101, **V1D), BAG_OF_TRICKS, 44_568_392),
    'resnext50_32x4d': Model(_config('ResNet', 50, **NEXT), RESNEXT, 25_028_904, 4.2, 77.89, top1_from=SENET),
    'resnext101_32x4d': Model(
        _config('ResNet', 101, **NEXT), RESNEXT, 44_177_704, 8.0, 78.82, top1_from=SENET
    ),
    'seresnet18': Model(_config('SEResNet', 18), SENET),
    'seresnet34': Model(_config('SEResNet', 34), SENET),
    'seresnet50': Model(
        _config('SEResNet', 50),
        SENET,
        28_088_024,
        3.87,
        76.71,
        f'{MMPRETRAIN}/se-resnet50_batch256_imagenet_20200804-ae206104.pth',
    ),
    'seresnet101': Model(
        _config('SEResNet', 101),
        SENET,
        49_326_872,
        7.60,
        77.62,
        f'{MMPRETRAIN}/se-resnet101_batch256_imagenet_20200804-ba5b51d4.pth',
    ),
    'seresnet152': Model(_config('SEResNet', 152), SENET, 66_821_848, 11.32, 78.43),
    'seresnext50_32x4d': Model(_config('SEResNeXt', 50), SENET, 27_559_896, 4.25, 78.90),
    'seresnext101_32x4d': Model(_config('SEResNeXt', 101), SENET, 48_955_416, 8.00, 79.30),
    'cmpese_resnet50_double_fc': _cmpe_se('double_fc'),
    'cmpese_resnet50_pair_2x1': _cmpe_se('pair_2x1'),
    'cmpese_resnet50_pair_1x1': _cmpe_se('pair_1x1'),
    'cmpese_resnet50_folded_3x3': _cmpe_se('folded_3x3'),
    'ini_resnet50_d': _inner_imaging(streams=2, filters=((2, 1),), fold=None),
    'ini_resnet50_da': _inner_imaging(streams=2, filters=((1, 1), (2, 1)), fold=None),
    'ini_resnet50_daf': _inner_imaging(streams=2, filters=((1, 1), (2, 1), (3, 3)), fold=16),
    'scnet50': Model(
        _config('SCNet', 50), SCNET, 25_564_584, 3.95, 77.8, f'{AUTHORS}/scnet50-dc6a7e87.pth', 40.8, 37.2
    ),
    'scnet50_v1d': Model(
        _config('SCNet', 50, **V1D, avd=True),
        SCNET,
        25_583_816,
        4.71,
        80.47,
        f'{AUTHORS}/scnet50_v1d-4109d1e1.pth',
        41.8,
        38.5,
    ),
    'scnet101': Model(
        _config('SCNet', 101), SCNET, 44_565_416, 7.21, 78.9, f'{AUTHORS}/scnet101-44c5b751.pth', 42.0, 38.4
    ),
    'scnet101_v1d': Model(_config('SCNet', 101, **V1D, avd=True, stem_channels=128), SCNET, 44_689_192),
    'scnext50': Model(_config('SCNet', 50, groups=32, base_width=2), SCNET, 25_044_008),
    'scnext101': Model(_config('SCNet', 101, groups=32, base_width=2), SCNET),
    'se_scnet50': Model(_config('SCNet', 50, attention=SE), SCNET),
    'se_scnet101': Model(_config('SCNet', 101, attention=SE), SCNET),
    'cmpese_scnet50': Model(_config('SCNet', 50, attention=PAIR_1X1), SCNET),
    'cmpese_scnet101': Model(_config('SCNet', 101, attention=PAIR_1X1), SCNET),
    'ini_scnet50': Model(_config('SCNet', 50, attention=INI), SCNET),
    'inception_v3': _inception(23_834_568, 78.8),
    'se_inception_v3': _inception(attention=SE),
    'ini_inception_v3': _inception(attention=dict(INI, streams=1)),
    'preactresnet50': Model(_preact(50), PREACT, 25_549_480),
    'pyramidnet101': Model(_pyramid(101, 360), PYRAMID, 42_455_070),
    'preactresnet110': _cifar(_preact(110), PREACT, 1_730_522, c10=6.37, c100_mixup=23.98),
    'preactresnet164': _cifar(
        _preact(164), PREACT, 1_703_258, c10=5.46, c10_mixup=4.15, c100=24.33, c100_mixup=20.84
    ),
    'se_preactresnet164': _cifar(_preact(164, attention=SE_WITHOUT_BIAS, **COMPETITIVE), CMPE_SE),
    'cmpese_preactresnet164_pair_1x1': _cifar(_preact(164, attention=PAIR_1X1, **COMPETITIVE), CMPE_SE),
    'ini_preactresnet164_daf': _cifar(_preact(164, attention=INI), INNER_IMAGING),
    'wrn16_8': _cifar(_wide(16, 8), WIDE),
    'cmpese_wrn16_8_pair_1x1': _cifar(
        _wide(16, 8, attention=PAIR_1X1, **COMPETITIVE_WIDE),
        CMPE_SE,
        c10=4.20,
        c10_mixup=3.18,
        c100=19.77,
        c100_mixup=17.26,
    ),
    'wrn22_10': _cifar(_wide(22, 10), WIDE, c10=4.44, c100=20.75, c100_mixup=17.88),
    'wrn28_10': _cifar(
        _wide(28, 10), WIDE, 36_479_194, c10=4.17, c10_mixup=2.70, c100=20.50, c100_mixup=17.50
    ),
    'se_wrn28_10': _cifar(
        _wide(28, 10, attention=SE_WITHOUT_BIAS, **COMPETITIVE_WIDE),
        CMPE_SE,
        c10=3.88,
        c10_mixup=2.68,
        c100=19.05,
        c100_mixup=16.77,
    ),
    'cmpese_wrn28_10_pair_1x1': _cifar(
        _wide(28, 10, attention=PAIR_1X1, **COMPETITIVE_WIDE),
        CMPE_SE,
        c10=3.58,
        c10_mixup=2.58,
        c100=18.55,
        c100_mixup=16.13,
    ),
    'ini_wrn28_10_daf': _cifar(_wide(28, 10, attention=INI), INNER_IMAGING),
    'pyramidnet110_a270': _cifar(_pyramid(110, 270), PYRAMID, 28_485_477),
    'ini_pyramidnet110_a270_daf': _cifar(_pyramid(110, 270, attention=INI), INNER_IMAGING),
}


def get(name: str) -> Model:
    """Look a model up.

    Raises:
        UsageError: If there is none of that name; close ones are named, or all.
    """
    if name not in MODELS:
        close = get_close_matches(str(name), MODELS, n=5) or list(MODELS)
        raise UsageError(f'no model {name!r} in the zoo; choose from {close}')
    return MODELS[name]


def build(name: str, **overrides: Any) -> 'Backbone':
    """Build a backbone with random weights.

    Args:
        name: A key of ``MODELS``.
        **overrides: Arguments of the backbone, over the zoo's.

    Raises:
        UsageError: If the name is unknown or an argument cannot be honoured.
    """
    from inimg_mm.registry import MODELS as REGISTRY

    return REGISTRY.build({**copy.deepcopy(get(name).config), **overrides})
