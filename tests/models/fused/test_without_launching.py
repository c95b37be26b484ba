"""What the fused forms decide, with launches that are looked at and not made.

Images of changing sizes compile a bounded number of kernels, and whoever watches a part of a block sees it.
"""

import copy
import importlib
import pkgutil

import pytest
import torch
from torch import nn

from helpers.fused import Ending, gate_of, maps
from inimg_mm.models import backbones, fused
from inimg_mm.models.fused import switch

pytest.importorskip('triton')
SIZES = [(h, w) for h in (1, 2, 3, 4, 7, 11, 16, 25, 34, 50) for w in (1, 5, 7, 8, 14, 21, 32, 42, 67)]


def specialised(value, free):
    """What Triton compiles an argument for."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.data_ptr() % 16 == 0
    if isinstance(value, int) and not isinstance(value, bool):
        wide = abs(value) > 2**31 - 1
        return ('int', wide) if free else ('int', wide, value == 1, value % 16 == 0)
    return None if value is None else type(value)


@pytest.fixture
def variants(monkeypatch):
    """The variants that would have been compiled, by kernel and what it is used for."""
    found = {}
    names = [f'{fused.__name__}.{room.name}' for room in pkgutil.iter_modules(fused.__path__)]
    rooms = [importlib.import_module(name) for name in names]

    def look(kernel, grid, *args, **constants):
        key = [specialised(arg, param.do_not_specialize) for arg, param in zip(args, kernel.params)]  # noqa: B905
        absent = (place for place, arg in enumerate(args) if arg is None)
        use = kernel.__name__, constants.get('RELU'), *absent
        found.setdefault(use, set()).add((*key, *sorted(constants.items())))

    for room in rooms:
        if hasattr(room, 'launch'):
            monkeypatch.setattr(room, 'launch', look)
    monkeypatch.setattr(switch, 'why_not', lambda *_: None)
    return found


@pytest.mark.parametrize(
    ('layout', 'most'), [(torch.contiguous_format, 21), (torch.channels_last, 7)], ids=['NCHW', 'NHWC']
)
def test_a_bounded_number_of_kernels(variants, layout, most):
    ending = Ending(48, gate_of('SE', 48), projected=True)
    norms = nn.BatchNorm2d(48), nn.BatchNorm2d(48)

    def step(size):
        y, x = maps(2, 48, *size, layout=layout)
        small = maps(2, 48, -(-size[0] // 4), -(-size[1] // 4), number=1, layout=layout)[0]
        y = fused.norm_act(y, norms[0], nn.ReLU(), True)
        assert fused.calibrate_fuses(y, x, small, *norms, True)
        y = fused.calibrate(y, x, small, *norms, True)
        ending(y, x).sum().backward()

    for size in [*SIZES, (55, 70), (100, 168), (200, 13), (50, 84), (160, 160)]:
        step(size)
    numbers = {name: len(keys) for name, keys in variants.items()}
    assert max(numbers.values()) <= most, numbers


@pytest.mark.parametrize('kind', ['SEResNet', 'SCNet'])
def test_a_hook_on_any_part_of_a_block_is_called_as_often_as_without(variants, kind):
    options = dict(depth=50, base_channels=8, stem_channels=8, out_indices=(0,))

    def block(switch):
        return getattr(backbones, kind)(**options, fused=switch).train().layer1[0]

    def watch(block, names):
        counts = dict.fromkeys(names, 0)
        for name in names:

            def count(*_, name=name):
                counts[name] += 1

            block.get_submodule(name).register_forward_hook(count)
        block(torch.randn(2, 8, 4, 3))
        return counts

    names = [name for name, _ in block(False).named_modules() if name]
    plain, unfused = watch(block(False), names), block(True)
    for name in names:
        assert watch(copy.deepcopy(unfused), [name]) == {name: plain[name]}
    assert variants  # the other parts were fused
