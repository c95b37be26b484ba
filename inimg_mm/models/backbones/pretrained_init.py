"""What a backbone starts from: a plain ``Pretrained`` of a config is sent through our own initialiser."""

import re
from collections.abc import Sequence

from inimg_mm.errors import UsageError


def starting_point(
    init_cfg: dict | list[dict] | None, pretrained: str | None, default: Sequence[dict]
) -> dict | list[dict]:
    """What a backbone is initialised by.

    Args:
        init_cfg: mmengine's initialiser config.
        pretrained: The hosts' older word for a checkpoint, which mmseg's models hand on to their backbone.
        default: The family's own initialisers.

    Raises:
        UsageError: If both are given, or ``pretrained`` is no address.
    """
    if pretrained is None:
        return init_cfg or list(default)
    if not isinstance(pretrained, str):
        raise UsageError(f'pretrained must be the address of a checkpoint or None, got {pretrained!r}')
    if init_cfg:
        raise UsageError(
            f'pretrained={pretrained!r} and init_cfg={init_cfg!r} both say what the backbone starts from: '
            'leave one of them out (model.pretrained=None where the base of a config has it)'
        )
    return dict(type='Pretrained', checkpoint=pretrained)


def checked_loading(init_cfg: dict | list[dict] | None) -> dict | list[dict] | None:
    """Send every ``Pretrained`` through the initialiser of this package, which says what it loaded.

    mmengine's own fills whatever fits by accident of name and shape, and goes on. In a list,
    Pretrained is applied last, as mmengine does with its own.
    """
    if isinstance(init_cfg, list | tuple):
        checked = [checked_loading(cfg) for cfg in init_cfg]
        return sorted(checked, key=is_pretrained)  # type: ignore[arg-type]
    if isinstance(init_cfg, dict) and is_pretrained(init_cfg):
        return {**init_cfg, 'type': 'inimg_mm.Pretrained'}
    return init_cfg


def is_pretrained(init_cfg: dict) -> bool:
    """Whether an initialiser is called Pretrained, mmengine's or ours."""
    kind = init_cfg.get('type')
    name = f'{kind.__module__}.{kind.__name__}' if isinstance(kind, type) else str(kind)
    return bool(re.fullmatch(r'Pretrained|(mmengine|inimg_mm)\.(.*\.)?Pretrained(Init)?', name))
