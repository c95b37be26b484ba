"""What Triton's compiler makes of the kernels for cards that are not there: no spills, wide accesses."""

import re
import subprocess
from pathlib import Path

import pytest

triton = pytest.importorskip('triton')
compiler = pytest.importorskip('triton.compiler')
PTXAS = Path(triton.__file__).parent / 'backends/nvidia/bin/ptxas'
pytestmark = pytest.mark.skipif(not PTXAS.exists(), reason='this Triton has no assembler')

NORM = ['mean', 'scale', 'weight', 'bias']
NORM2 = ['mean2', 'scale2', 'weight2']
MAPS = ['y', 'y2', 'x', 'out', 'go', 'q', 'dy', 'dy2', 'z3', 'z2', 'dl', 'dz3']
KINDS = dict(batches='i64', batches2='i64', batches3='i64', rows='i32', cols='i32', index='i8')
DOUBLES = ['covariance', 'effective', 'constant', 'matrix', 'shift']
NUMBERS = ['eps', 'eps2', 'momentum', 'momentum2', 'momentum3', 'count', 'count2', 'inverse_hw']
INTEGERS = [
    'HW',
    'C',
    'sn',
    'sp',
    'sc',
    'steps',
    'S',
    'R',
    'chunk',
    'rows_a_gate',
    'N',
    'K',
    'W',
    'W2',
    'sn2',
    'sp2',
    'sc2',
    'R2',
    'S2',
    'HW2',
    'chunk2',
    'L',
    'M',
    'H',
    'H2',
    'sr',
    'tn',
    'tr',
    'tc',
    'width',
    'OH',
    'OW',
]


def repeated(names, *endings):
    """The names, and again with each ending."""
    return [name + ending for ending in ('', *endings) for name in names]


MAP_CASES = {
    'moments': (['y', 'means', 'squares'], {}),
    'apply': (['y', 'x', 'g', 'out', 'means', *NORM, *NORM2, 'bias2'], dict(RUNNING=False, RELU=True)),
    'gradient_sums': (
        ['go', 'out', 'y', 'y2', 'q', *NORM, *NORM2, 'bias2', 'sums', 'centred', 'centred2'],
        dict(RUNNING=False, RELU=True),
    ),
    'gradient_sums without the output': (
        ['go', 'y', 'y2', 'g', 'q', *NORM, *NORM2, 'bias2', 'sums', 'centred', 'centred2'],
        dict(RUNNING=False, RELU=True),
    ),
    'input_gradients': (
        ['q', 'y', 'y2', 'g', 'du', 'dv', 'dy', 'dy2', *NORM, *NORM2]
        + ['beta', 'gamma', 'beta2', 'gamma2', 'inverse_count'],
        dict(RUNNING=False, RELU=False),
    ),
}
TABLES = ['rows', 'cols']
CALIBRATION_CASES = {
    'calibrate': (
        ['z3', 'y', 'z2', 'out', *NORM, *NORM2, 'bias2', *TABLES],
        dict(RUNNING=False, RUNNING2=False),
    ),
    'calibration_gradients': (
        ['go', 'z3', 'y', 'z2', 'dl', 'dz3', *NORM, *NORM2, 'bias2', *TABLES]
        + ['sums', 'centred', 'beta', 'gamma', 'inverse_count'],
        dict(RUNNING=False, RUNNING2=False),
    ),
}
CHANNEL_CASES = {
    'merge': (
        repeated(
            ['means', 'squares', 'mean', 'scale', 'share', 'running_mean', 'running_var', 'batches'], '2'
        ),
        dict(BR=256, BC=8, LOCAL=False),
    ),
    'squeeze': (repeated(['means', 'squeezed', 'centred', *NORM], '2'), dict(BS=32, BC=128, RUNNING=False)),
    'gate_gradient': (
        ['sums', 'centred', 'centred2', 'all_sums', 'all_centred', 'all_centred2', 'dg', *NORM],
        dict(BS=32, BC=128, RUNNING=False),
    ),
    'excite': (
        ['u', 'v', 'w1', 'v1', 'w2', 'code', 'g'],
        dict(BJ=128, BK=64, WARPS=16),
    ),
    'mean_gradients': (
        ['dg', 'g', 'code', 'w1', 'v1', 'w2', 'dz', 'dcode', 'du', 'dv'],
        dict(BJ=128, BK=64, WARPS=16),
    ),
    'weight_gradients': (
        ['u', 'v', 'code', 'dz', 'dcode', 'dw1', 'dv1', 'dw2'],
        dict(BN=32, BC=16, BJ=64),
    ),
    'affine_gradients': (
        ['g', *repeated(['sums', 'centred', 'du', 'means', 'beta', 'gamma', 'scale'], '2')],
        dict(BR=256, BC=8, RUNNING=False, RUNNING2=False),
    ),
}
TAPS = dict(K=9, KP=16, KW=3, TOP=1, LEFT=1, STREAMS=2)
BANKS = dict(
    **dict(FH=1, FW=1, DOWN=1, RIGHT=1, FH2=2, FW2=1, DOWN2=1, RIGHT2=1, FH3=3, FW3=3, DOWN3=0, RIGHT3=0),
    **dict(K=9, KP=16, KW=3, BANKS=3, BR=16, BM=8, RUNNING=False, WARPS=8),
)
IMAGE_CASES = {
    'patch_moments': (['u', 'v', 'means', 'squares'], dict(**TAPS, BP=64), ['means', 'squares']),
    'excite_image': (
        ['u', 'v', 'w1', 'w2', 'mean', 'effective', 'constant', 'condensed', 'code', 'g'],
        dict(**TAPS, BJ=128, BK=128, WARPS=16),
        ['mean'],
    ),
    'filter_sums': (['u', 'v', 'dmap', 'mean', 'sums'], dict(**TAPS, BP=64), ['mean', 'sums']),
    'image_gradients': (
        ['u', 'v', 'dmap', 'mean', 'effective', 'matrix', 'shift', 'du', 'dv'],
        dict(**TAPS, BP=64),
        ['mean'],
    ),
    'effective_filter': (
        ['means', 'squares', 'mean', 'covariance', 'effective', 'constant']
        + repeated(['w', 'weight', 'bias', 'running_mean', 'running_var', 'batches'], '2', '3'),
        BANKS,
        ['means', 'squares', 'mean'],
    ),
    'filter_gradients': (
        ['sums', 'covariance', 'matrix', 'shift']
        + repeated(['w', 'weight', 'running_mean', 'running_var', 'dw', 'dweight', 'dbias'], '2', '3'),
        BANKS,
        ['sums'],
    ),
}
"""Of an image that three banks of up to 3x3 look at; the last names are kept in float64, too."""
TILES = {
    'bf16': dict(BP=16, BC=128, CL=True, FULL=True),
    'fp16': dict(BP=512, BC=4, CL=False, FULL=True),
    'fp16, 8 positions': dict(BP=512, BC=4, CL=False, FULL=True, EIGHT=True),
}
"""Channels last and NCHW, as :func:`inimg_mm.models.fused.geometry.plan` divides large maps.

The size of the last ones is a multiple of 8, and not of 16.
"""


def assembled(kernel, given, constants, dtype, capability, folder, doubles=()):
    """The kernel's PTX, and what the assembler says of it."""
    kinds = KINDS | dict.fromkeys([*DOUBLES, *doubles], 'fp64')
    signature, fixed, attributes = {}, {}, {}
    for index, parameter in enumerate(kernel.params):
        name = parameter.name
        if name in constants or not (name in given or name in NUMBERS or name in INTEGERS):
            signature[name], fixed[index,] = 'constexpr', constants.get(name)
        elif name in given:
            kind = dtype if name in MAPS else kinds.get(name, 'fp32')
            signature[name] = f'*{kind}'
        else:
            signature[name] = 'fp32' if name in NUMBERS else 'i32'
        free = name in (kernel.do_not_specialize or []) or (name == 'sc' and constants.get('EIGHT'))
        if signature[name][0] == '*' or (signature[name] == 'i32' and not free):
            attributes[index,] = [['tt.divisibility', 16]]
    source = compiler.ASTSource(kernel, signature, fixed, attributes)
    target = triton.backends.compiler.GPUTarget('cuda', capability, 32)
    options = {'num_warps': constants.get('WARPS', 4)}
    ptx = triton.compile(source, target=target, options=options).asm['ptx']
    path = folder / 'kernel.ptx'
    path.write_text(ptx)
    arch = f'-arch=sm_{capability}' + ('a' if capability == 90 else '')
    done = subprocess.run(
        [PTXAS, arch, '-v', path, '-o', folder / 'kernel.cubin'], capture_output=True, text=True, check=True
    )
    return ptx, done.stderr


def assert_no_spills(report):
    assert int(re.search(r'(\d+) bytes spill stores', report)[1]) == 0
    assert (
        int(re.search(r'Used (\d+) registers', report)[1]) <= 168
    )  # three blocks of four warps a multiprocessor


@pytest.mark.parametrize('capability', [80, 90])
@pytest.mark.parametrize('maps', TILES)
@pytest.mark.parametrize('name', [*MAP_CASES, *CALIBRATION_CASES])
def test_kernels_over_maps(name, maps, capability, tmp_path):
    from inimg_mm.models.fused import calibration_kernels, map_kernels

    given, constants = {**MAP_CASES, **CALIBRATION_CASES}[name]
    tile, dtype = TILES[maps], maps.split(',')[0]
    unit = dict(sc=1, sc2=1) if tile['CL'] else dict(sp=1, sp2=1)
    kernel = getattr(map_kernels if name in MAP_CASES else calibration_kernels, name.split()[0])
    unit = {axis: 1 for axis in unit if axis in [parameter.name for parameter in kernel.params]}
    ptx, report = assembled(kernel, given, {**tile, **unit, **constants}, dtype, capability, tmp_path)
    assert_no_spills(report)
    assert re.search(r'ld\.global[\w.:]*\.v4\.b32', ptx)  # 16 bytes at once
    writes_maps = {'out', 'q', 'dy'} & set(given)
    assert not writes_maps or re.search(r'st\.global[\w.:]*\.v4\.b32', ptx)
    assert not re.search(r'\b(atom|red)\.', ptx)


STEM_CASES = {
    'pool': (['y', 'out', 'index', *NORM], dict(RUNNING=False)),
    'sums': (['go', 'index', 'y', *NORM, 'sums', 'centred'], dict(RUNNING=False)),
    'gradients': (['go', 'index', 'y', 'dy', *NORM, 'beta', 'gamma', 'inverse_count'], dict(RUNNING=False)),
}
STEM_TILES = {'bf16': dict(BQ=16, BC=64, CL=True, FULL=True), 'fp16': dict(BQ=64, BC=8, CL=False, FULL=True)}
"""Of 64 channels, as :func:`inimg_mm.models.fused.geometry.plan_rows` divides large maps."""


@pytest.mark.parametrize('capability', [80, 90])
@pytest.mark.parametrize('dtype', STEM_TILES)
@pytest.mark.parametrize('case', STEM_CASES)
def test_kernels_of_a_stem(case, dtype, capability, tmp_path):
    from inimg_mm.models.fused import stem_kernels

    given, constants = STEM_CASES[case]
    kernel = stem_kernels.pool if case == 'pool' else stem_kernels.pool_gradients
    constants = constants | STEM_TILES[dtype] | dict(PAD=1)
    constants |= dict(sc=1, tc=1) if constants['CL'] else dict(sp=1)
    if case == 'pool':
        constants['DTYPE'] = getattr(triton.language, dict(bf16='bfloat16', fp16='float16')[dtype])
    ptx, report = assembled(kernel, given, constants, dtype, capability, tmp_path)
    assert_no_spills(report)
    assert re.search(r'ld\.global[\w.:]*\.v4\.b32', ptx)  # 16 bytes at once
    stored = 2 if case == 'pool' and dtype == 'fp16' else 4  # four windows a thread
    assert case == 'sums' or re.search(rf'st\.global[\w.:]*\.v{stored}\.b32', ptx)
    assert not re.search(r'\b(atom|red)\.', ptx)


@pytest.mark.parametrize('capability', [80, 90])
@pytest.mark.parametrize('name', CHANNEL_CASES)
def test_kernels_over_channels(name, capability, tmp_path):
    from inimg_mm.models.fused import channel_kernels, gate_kernels

    given, constants = CHANNEL_CASES[name]
    room = channel_kernels if hasattr(channel_kernels, name) else gate_kernels
    ptx, report = assembled(getattr(room, name), given, constants, 'fp32', capability, tmp_path)
    assert_no_spills(report)
    assert not re.search(r'\b(atom|red)\.', ptx)


@pytest.mark.parametrize('capability', [80, 90])
@pytest.mark.parametrize('name', IMAGE_CASES)
def test_kernels_of_an_inner_image(name, capability, tmp_path):
    from inimg_mm.models.fused import filter_kernels, image_kernels

    given, constants, doubles = IMAGE_CASES[name]
    kernel = getattr(image_kernels if hasattr(image_kernels, name) else filter_kernels, name)
    ptx, report = assembled(kernel, given, constants, 'fp32', capability, tmp_path, doubles)
    assert_no_spills(report)
    assert not re.search(r'\b(atom|red)\.', ptx)
