"""The main and the auxiliary classifier of Inception-v3 (arXiv 1512.00567). Imports mmpretrain."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from inimg_mm.errors import UsageError
from inimg_mm.models.backbones.inception_blocks import ConvNormReLU, norm_config
from inimg_mm.models.checks import positive_integer

SMALLEST_MAP = 17
"""Least height and width of a map of which pool (5x5, step 3) and 5x5 convolution leave a pixel."""
WITHOUT = "neck=dict(type='GlobalAveragePooling') and head=dict(type='LinearClsHead', in_channels=2048, …)"
"""mmpretrain's classifier without an auxiliary one."""


class InceptionHead(ClsHead):
    """The two classifiers of Inception-v3, on the maps ``out_indices=(2, 3)`` of the backbone.

    The main one pools the last map and scores the classes. While training, the auxiliary one scores them
    from Mixed_6e's map, and its loss is added with a small weight; in inference it does not run. It is the
    paper's BN-auxiliary where its fully connected layer, a 5x5 convolution over a 5x5 map, has a norm, as
    its 1x1 convolution has.

    Both pool, so the classifier has no neck. Names are torchvision's: ``fc``, and ``AuxLogits`` with
    ``conv0``, ``conv1`` and ``fc``; so are the initial weights.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the backbone's two maps.
        dropout: Share of the pooled features that the main classifier drops while training.
        aux_weight: Weight of the auxiliary loss.
        fc_norm: Whether the auxiliary classifier's 5x5 convolution has a norm; False gives it a bias
            (table 3: all systems before "BN-auxiliary").
        norm_cfg: Config of the auxiliary classifier's norms. Default: BN; ``eps`` is 1e-3 unless the config
            has its own.
        init_cfg: mmengine's initialiser config.
        **options: ``loss, topk, cal_acc`` of mmpretrain's ``ClsHead``; one loss serves both classifiers.

    Raises:
        UsageError: If an argument is out of its range; the message names the choices.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] = (768, 2048),
        dropout: float = 0.5,
        aux_weight: float = 0.4,
        fc_norm: bool = True,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = dict(type='TruncNormal', layer='Linear', std=0.1),  # noqa: B006
        **options: Any,
    ) -> None:
        super().__init__(init_cfg=init_cfg, **options)
        positive_integer('num_classes', num_classes)
        if not isinstance(in_channels, Sequence) or len(in_channels) != 2:
            raise UsageError(
                'in_channels holds the channels of two maps, Mixed_6e and Mixed_7c, as (768, 2048), '
                f'got {in_channels!r}'
            )
        if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise UsageError(f'dropout must be at least 0 and below 1, got {dropout!r}')
        if not isinstance(aux_weight, int | float) or aux_weight <= 0:
            raise UsageError(
                f'aux_weight must be above 0, got {aux_weight!r}; without an auxiliary classifier: {WITHOUT}'
            )
        self.num_classes = num_classes
        self.aux_weight = aux_weight
        self.AuxLogits = AuxiliaryClassifier(num_classes, in_channels[0], fc_norm, norm_cfg)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels[1], num_classes)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The last map's means, (N, in_channels[1])."""
        if len(feats) != 2 or feats[-1].dim() != 4:
            shapes = [tuple(feature.shape) for feature in feats]
            raise UsageError(
                'InceptionHead reads two maps, Mixed_6e and Mixed_7c, and pools them itself: write '
                f'backbone.out_indices=(2, 3) and neck=None; got features of the shapes {shapes}'
            )
        return feats[-1].mean((2, 3))

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The main classifier's scores, (N, num_classes)."""
        return self.fc(self.dropout(self.pre_logits(feats)))

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[Any], **options: Any) -> dict[str, Tensor]:
        """``loss_main``, and ``loss_aux`` times its weight; mmengine logs their sum as ``loss``.

        Args:
            feats: The backbone's maps, (N, C, H, W) each.
            data_samples: mmpretrain's samples with their labels.
            **options: What the loss takes further.
        """
        losses = super().loss(feats, data_samples, **options)
        auxiliary = self._get_loss(self.AuxLogits(feats[0]), data_samples, **options)
        return {'loss_main': losses.pop('loss'), 'loss_aux': self.aux_weight * auxiliary['loss'], **losses}


class AuxiliaryClassifier(BaseModule):
    """Average pool (5x5, step 3), 1x1 convolution to 128, 5x5 to 768, mean, fully connected layer.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the map.
        fc_norm: Whether the 5x5 convolution has a norm, as the 1x1 has; False gives it a bias.
        norm_cfg: See :class:`InceptionHead`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 768,
        fc_norm: bool = True,
        norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        conv, linear = (dict(type='TruncNormal', layer=layer) for layer in ('Conv2d', 'Linear'))
        super().__init__([dict(conv, std=0.1), dict(linear, std=0.001)])
        norm_cfg = norm_config(norm_cfg)
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv0 = ConvNormReLU(in_channels, 128, (1, 1), norm_cfg=norm_cfg)
        self.conv1 = ConvNormReLU(
            128, 768, (5, 5), norm_cfg=norm_cfg if fc_norm else None, init_cfg=dict(conv, std=0.01)
        )
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Score the classes, (N, num_classes), from a map (N, in_channels, H, W).

        Raises:
            UsageError: If the map is too small.
        """
        if min(x.shape[2:]) < SMALLEST_MAP:
            raise UsageError(
                f'the auxiliary classifier needs a map of {SMALLEST_MAP}x{SMALLEST_MAP} and got '
                f"{x.shape[2]}x{x.shape[3]}: images have at least 299x299, with padding='same' 257x257; "
                f'smaller ones train without it: {WITHOUT}'
            )
        return self.fc(self.conv1(self.conv0(self.pool(x))).mean((2, 3)))
