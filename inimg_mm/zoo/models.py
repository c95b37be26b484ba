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
SENET, CMPE_SE, INNER_IMAGING = '1709.01507', '1807.08920', '1904.12639'
SCNET = 'CVPR 2020'


@dataclass(frozen=True)
class Model:
    """One backbone.

    Attributes:
        config: Config of the backbone, ``type`` included.
        paper: arXiv number, or conference, of the paper that describes the net.
        params: Parameters with the 1000-way classifier, as the reference implementation
            (torchvision's, timm's or the authors') counts them.
        gmacs: The paper's multiply-adds at 224x224, in G.
        top1: The paper's ImageNet top-1 accuracy, single crop 224x224, in %.
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


def _config(family: str, depth: int, **options: Any) -> dict[str, Any]:
    return dict(type=f'inimg_mm.{family}', depth=depth, **options)


def _cmpe_se(view: str) -> Model:
    return Model(_config('CMPESEResNet', 50, attention=dict(type='CMPESE', view=view)), CMPE_SE)


def _inner_imaging(**options: Any) -> Model:
    return Model(
        _config('InnerImagingResNet', 50, attention=dict(type='InnerImaging', **options)), INNER_IMAGING
    )


AUTHORS = 'https://backseason.oss-cn-beijing.aliyuncs.com/scnet'
MMPRETRAIN = 'https://mmassets.onedl.ai/mmclassification/v0/se-resnet'
V1D = dict(deep_stem=True, avg_down=True)
NEXT = dict(groups=32, base_width=4)

MODELS: dict[str, Model] = {
    'resnet18': Model(_config('ResNet', 18), RESNET, 11_689_512, 1.8),
    'resnet34': Model(_config('ResNet', 34), RESNET, 21_797_672, 3.6),
    'resnet50': Model(_config('ResNet', 50), RESNET, 25_557_032, 3.8, 75.3, box_ap=37.6, mask_ap=35.0),
    'resnet101': Model(_config('ResNet', 101), RESNET, 44_549_160, 7.6, 76.4, box_ap=39.9, mask_ap=36.7),
    'resnet152': Model(_config('ResNet', 152), RESNET, 60_192_808, 11.3, 77.0),
    'resnet50_v1d': Model(_config('ResNet', 50, **V1D), BAG_OF_TRICKS, 25_576_264, 4.3, 77.16),
    'resnet101_v1d': Model(_config('ResNet', 101, **V1D), BAG_OF_TRICKS, 44_568_392),
    'resnext50_32x4d': Model(_config('ResNet', 50, **NEXT), RESNEXT, 25_028_904, 4.2, 77.8),
    'resnext101_32x4d': Model(_config('ResNet', 101, **NEXT), RESNEXT, 44_177_704, 8.0, 78.8),
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
    'se_scnet50': Model(_config('SCNet', 50, attention=dict(type='SE')), SCNET),
    'cmpese_scnet50': Model(_config('SCNet', 50, attention=dict(type='CMPESE', view='pair_1x1')), SCNET),
    'ini_scnet50': Model(_config('SCNet', 50, attention=dict(type='InnerImaging')), SCNET),
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
