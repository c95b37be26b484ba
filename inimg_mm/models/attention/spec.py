"""From an ``attention`` spec to gates."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inimg_mm.config_tree import type_name
from inimg_mm.errors import UsageError
from inimg_mm.models.checks import one_flag_each

from .base import Gate, no_shortcut_error
from .inner_imaging import InnerImaging, cmpe_se
from .squeeze_excitation import squeeze_excitation

GATES: dict[str, Callable[..., Gate]] = {
    'SE': squeeze_excitation,
    'CMPESE': cmpe_se,
    'InnerImaging': InnerImaging,
}
"""The ``type`` of an attention spec and what builds its gate."""
STANDARD, PRE, POST, IDENTITY, AFTER_3X3 = 'standard', 'pre', 'post', 'identity', '3x3'
"""Where a block's gate stands: on the residual just before the sum; on the branch's input; on the block's
output; on the shortcut, parallel to the branch; behind a bottleneck's 3x3 convolution, its norm and ReLU.
SENet's study of integration (arXiv 1709.01507) compares them."""

_FROM_THE_BLOCK = ('channels', 'planes', 'init_cfg')


class Attention:
    """An ``attention`` spec, checked once and built for each block.

    Args:
        spec: ``dict(type='SE' | 'CMPESE' | 'InnerImaging', stages=None, position='standard', **options)``,
            where ``stages`` holds one flag per stage (None: every stage has gates) and ``position`` says
            where in its block a gate stands; or None for a net without gates.
        num_stages: How many flags ``stages`` must hold.
        norm_cfg: The backbone's norm config. A gate's own norm is BN, or SyncBN where the
            backbone's is, unless the spec names one.
        has_shortcut: Whether the backbone's blocks have a shortcut to compare with.
        positions: Where in the backbone's blocks a gate can stand.

    Raises:
        UsageError: If the type, an option or the position is unknown (the choices are named), ``stages``
            has another length, or an option is out of its range.
    """

    def __init__(
        self,
        spec: dict[str, Any] | None,
        num_stages: int,
        norm_cfg: dict[str, Any] | None = None,
        has_shortcut: bool = True,
        positions: Sequence[str] = (STANDARD,),
    ) -> None:
        if spec is not None and not isinstance(spec, Mapping):
            raise UsageError(f'attention must be a dict with a type of {list(GATES)}, got {spec!r}')
        self.options: dict[str, Any] = copy.deepcopy(dict(spec or {}))
        self.type = self.options.pop('type', None)
        stages = self.options.pop('stages', None)
        stages = (True,) * num_stages if stages is None else stages
        self.stages = one_flag_each('attention stages', stages, num_stages)
        self.position = self.options.pop('position', STANDARD)
        if self.position not in list(positions):
            raise UsageError(
                f'attention position={self.position!r} is no place for a gate in these blocks; '
                f'choose from {list(positions)}'
            )
        self.has_shortcut = has_shortcut
        self.factory: Callable[..., Gate] | None = None
        if spec is None:
            return
        if self.type not in list(GATES):
            raise UsageError(f'unknown attention type {self.type!r}; choose from {list(GATES)}')
        self.factory = GATES[self.type]
        accepted = list(inspect.signature(self.factory).parameters)
        choices = [name for name in accepted if name not in _FROM_THE_BLOCK]
        unknown = [name for name in self.options if name not in choices]
        if unknown:
            raise UsageError(
                f'attention type {self.type!r} has no option {unknown[0]!r}; choose from {choices}'
            )
        self.takes_planes = 'planes' in accepted
        if 'norm_cfg' in choices and self.options.get('norm_cfg') is None:
            self.options['norm_cfg'] = batch_norm_like(norm_cfg)

    def build(self, stage: int, channels: int, planes: int) -> Gate | None:
        """Build the gate of one block.

        Args:
            stage: Index of the block's stage, from 0.
            channels: C of the maps that it weighs.
            planes: The block's base width.

        Returns:
            The gate, or None where the stage has none.

        Raises:
            UsageError: If the gate cannot be had for that many channels, or compares two streams that do
                not meet where it stands.
        """
        if self.factory is None or not self.stages[stage]:
            return None
        options = dict(self.options, planes=planes) if self.takes_planes else self.options
        gate = self.factory(channels, **options)
        if gate.needs_shortcut and not self.has_shortcut:
            raise no_shortcut_error(f'attention type {self.type!r}')
        if gate.needs_shortcut and self.position != STANDARD:
            raise no_shortcut_error(f'attention type {self.type!r}', f'position={self.position!r}')
        return gate


def with_fold(spec: dict[str, Any] | None, fold: dict[str, Any]) -> dict[str, Any] | None:
    """The spec with ``fold``, where its gates look at a folded image and it does not say how to fold."""
    if not isinstance(spec, Mapping):
        return spec
    folded = dict(CMPESE=spec.get('view') == 'folded_3x3' and spec.get('fold') is None,
                  InnerImaging='fold' not in spec)  # fmt: skip
    return {**spec, 'fold': fold} if folded.get(str(spec.get('type'))) else spec


def batch_norm_like(norm_cfg: dict[str, Any] | None) -> dict[str, Any]:
    """A batch norm's config: synchronised where that of the backbone is."""
    if norm_cfg is not None and 'SyncB' in type_name(norm_cfg):  # SyncBN, MMSyncBN, torch's SyncBatchNorm
        return dict(type=norm_cfg['type'])
    return dict(type='BN')
