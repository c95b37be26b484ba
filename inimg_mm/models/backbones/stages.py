"""What stages consist of: how many blocks, which dilations, where deformable convolutions are."""

from collections.abc import Sequence
from typing import Any

from inimg_mm.errors import UsageError
from inimg_mm.models.checks import is_integer, layer_config, one_flag_each, one_size_each


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
        raise UsageError(
            f'dcn={dcn!r} is used in no stage; set stage_with_dcn, e.g. (False, True, True, True)'
        )
    return tuple(dcn if flag else None for flag in flags)


def three_equal_stages(
    family: str, depth: int, rules: dict[str, tuple[int, int]], otherwise: str = ''
) -> tuple[str, tuple[int, ...]]:
    """Kind of block, and number of blocks in each of a CIFAR net's three stages.

    Args:
        family: The net's name.
        depth: Its layers with weights on the longest way.
        rules: For each kind of block, the first choice first: the layers outside of the blocks, and those of
            three blocks.
        otherwise: What else the error says.

    Raises:
        UsageError: If no rule gives that depth; the nearest that they give are named.
    """
    choices = []
    for kind, (outside, three) in rules.items():
        blocks, rest = divmod(depth - outside, three) if is_integer(depth) else (1, -1)
        if rest == 0 and blocks > 0:
            return kind, (blocks,) * 3
        lower = outside + three * max(blocks, 1)
        choices.append(f'{lower} or {lower + three} with {kind} (depth - {outside} is a multiple of {three})')
    raise UsageError(f'{family} has no depth {depth!r}; near it are {", ".join(choices)}{otherwise}')


def spatial_conv_cfg(
    conv_cfg: dict[str, Any] | None, dcn: dict[str, Any] | None, stride: int
) -> dict[str, Any] | None:
    """Config of a block's 3x3 convolution: the deformable one where ``dcn`` asks for it.

    Raises:
        ImportError: If mmcv was built without its ops.
    """
    if dcn is None:
        return conv_cfg
    try:
        import mmcv.ops  # noqa: F401  registers DCN and DCNv2
    except ImportError as error:
        raise ImportError(f'dcn={dcn!r} needs mmcv with its compiled ops (mmcv._ext): {error}') from error
    layer_config('dcn', dcn, "dict(type='DCNv2', deform_groups=1)")
    options = dict(dcn)
    if options.pop('fallback_on_stride', False) and stride != 1:
        return conv_cfg
    return options
