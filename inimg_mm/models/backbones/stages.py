"""What differs from stage to stage, and within one: dilations, and where deformable convolutions are."""

from collections.abc import Sequence
from typing import Any

from inimg_mm.models.checks import one_flag_each, one_size_each


def block_dilations(
    dilation: int, blocks: int, contract: bool, multi_grid: Sequence[int] | None
) -> tuple[int, ...]:
    """Dilation of each block of a stage."""
    if multi_grid is not None:
        return one_size_each('multi_grid', multi_grid, blocks, 'blocks of the last stage')
    first = max(dilation // 2, 1) if contract else dilation
    return (first,) + (dilation,) * (blocks - 1)


def stage_dcn(
    dcn: dict[str, Any] | None, stage_with_dcn: Sequence[bool], num_stages: int
) -> tuple[dict[str, Any] | None, ...]:
    """The deformable convolution's config of each stage."""
    if dcn is None:
        return (None,) * num_stages
    flags = one_flag_each('stage_with_dcn', stage_with_dcn, num_stages)
    if not any(flags):
        raise ValueError(
            f'dcn={dcn!r} is used in no stage; set stage_with_dcn, e.g. (False, True, True, True)'
        )
    return tuple(dcn if flag else None for flag in flags)
