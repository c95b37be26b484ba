"""The short way to launch a kernel hands over what Triton does; what it compiles for is Triton's at first."""

import pytest
import torch
from torch import nn

from helpers.fused import LAYOUTS, Ending, gate_of, set_up
from helpers.launches import is_short, moments, needs_a_tested_version, start
from inimg_mm.models import fused
from inimg_mm.models.fused import launcher

pytestmark = needs_a_tested_version


def same(short, own):
    """Whether a launcher was given the same, but for the hooks, which are empty."""
    pairs = [*zip(short[:10], own[:10], strict=True), *zip(short[13:], own[13:], strict=True)]
    return all(a is b if isinstance(a, torch.Tensor) else (type(a), a) == (type(b), b) for a, b in pairs)


def a_map(*shape, layout, dtype, aligned=True):
    """A map whose first value is at a multiple of 16 bytes, or behind one."""
    n, c, h, w = shape
    size, first = n * c * h * w, 0 if aligned else 1
    room = torch.randn(size + 1).to(dtype)[first : first + size]
    made = room.view(n, h, w, c).permute(0, 3, 1, 2) if layout is torch.channels_last else room.view(shape)
    return made.requires_grad_()


def step(mode='batch', channels=32, size=(8, 8), layout=LAYOUTS[1], dtype=torch.float32, aligned=True):
    """Each kind of fused operation, forward and backward."""
    kinds = dict(layout=layout, dtype=dtype, aligned=aligned)
    relu, pool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    gates = 'SE', 'DoubleFC', 'two_banks', 'one_stream', None
    endings = [Ending(channels, gate_of(gate, channels), gate in ('SE', None)) for gate in gates]
    parts, _ = set_up(nn.ModuleList([*endings, nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)]), mode)
    *endings, norm, norm2 = parts
    y, x = (a_map(2, channels, *size, **kinds) for _ in range(2))
    small = a_map(2, channels, *(-(-side // 4) for side in size), **kinds)
    outs = [fused.norm_act(y, norm, relu, True), *fused.norm_act_of_both((y, norm), (x, norm2), relu, True)]
    outs += [fused.stem(y, norm, relu, pool, True), fused.calibrate(y, x, small, norm, norm2, True)]
    outs += [ending(y, x) for ending in endings]
    torch.autograd.backward(outs, [torch.ones_like(out) for out in outs])


STEPS = {
    'channels last': dict(),
    'NCHW, half, on another device': dict(layout=LAYOUTS[0], dtype=torch.float16),
    'one position, bfloat16': dict(size=(1, 1), dtype=torch.bfloat16),
    'odd sizes, running statistics': dict(mode='running', size=(5, 7), layout=LAYOUTS[0], channels=20),
    'pointers between': dict(mode='frozen', aligned=False),
}


@pytest.mark.parametrize('compiling', [False, pytest.param(True, marks=pytest.mark.slow)], indirect=True)
def test_a_launcher_gets_what_triton_hands_it(card):
    """Of every kernel, in changing shapes, dtypes and layouts; each compiled variant has its own handle."""
    from inimg_mm.studies import launches

    seen, variants = set(), set()
    for name, options in STEPS.items():
        card.device = int('another device' in name)
        for kernel, grid, args, constants in launches.launches_of(lambda options=options: step(**options)):
            seen.add(kernel)
            del card.received[:]
            kernel[grid](*args, **constants)
            for _ in range(2):
                launcher.launch(kernel, grid, *args, **constants)
            own, _, short = card.received
            variants.add(own[4])
            assert not is_short(own)
            assert is_short(short)
            assert same(short, own), kernel
    helpers = {'norm_constants', 'tile_mask', 'decode'}
    entered = {kernel for kernel in launches.kernels() if not kernel.__name__.startswith('_')}
    assert {kernel.__name__ for kernel in entered - seen} == helpers
    known = [compiled for _, found in launcher.choose(None).kernels.values() for compiled in found.values()]
    assert len(known) == len({compiled.fixed[0] for compiled in known}) == len(variants) == card.loaded


def swapped(kernel, grid, args, constants):
    """The same constants in the same order, two by each other's names."""
    first, second, *others = constants
    values = constants.values()
    return kernel, grid, args, dict(zip((second, first, *others), values, strict=True))


CHANGES = {
    'not divisible by 16': dict(c=50),
    'one': dict(c=1),
    'wide': dict(sc=2**31),
    'a truth value': dict(c=True),
    'a fraction': dict(c=1.0),
    'a pointer between': dict(y=torch.zeros(64)[1:]),
    'another dtype': dict(y=torch.zeros(64, dtype=torch.float16)),
    'a tensor that was absent': dict(squares=torch.zeros(64)),
    'a wide size': dict(hw=2**31),
    'another constant': dict(tile=16),
    'another option': dict(num_warps=8),
}


@pytest.mark.parametrize('compiling', [True], indirect=True)
def test_what_triton_compiles_for_leads_to_triton_first(card):
    """Its compiler is the real one, but for what no compiler takes."""
    received = card.received
    for options in [{}, *(CHANGES[name] for name in CHANGES if name not in ('a fraction', 'a truth value'))]:
        launch = moments(**options)
        for _ in range(2):
            start(launch)
        assert [is_short(args) for args in received[-2:]] == [False, True]
        assert same(received[-1], received[-2])
    assert card.loaded == len(CHANGES) - 1


def test_no_class_is_taken_for_another(card):
    cases = [moments(), swapped(*moments()), *(moments(**to) for to in CHANGES.values())]
    received = card.received
    for turn in range(2):
        for device in range(2):
            card.device = device
            for case in cases:
                start(case)
                assert is_short(received[-1]) == bool(turn)
    handles = [args[4] for args in received]
    assert handles == [*range(1, 2 * len(cases) + 1)] * 2
    assert {args[3] for args in received} == {1000, 1001}


def test_what_triton_does_not_compile_for_is_one_class(card):
    start(moments())
    for hw, steps, sc, c in [(1, 1, 96, 48), (7, 16, 16, 16), (2**31 - 1, 5, 32, 2**31 - 16)]:
        start(moments(hw=hw, steps=steps, sc=sc, c=c))
        assert is_short(card.received[-1])
        assert card.received[-1][13 + 3 : 13 + 5] == (hw, c)
    assert card.loaded == 1
