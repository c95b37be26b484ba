"""The Triton kernels of an inner-imaging gate up to its code: see :mod:`.imaging` for the formulas.

The image of a sample is not made: pixel (r, c) is channel ``(r // STREAMS) * width + c`` of stream
``r % STREAMS``, u or v, or zero behind the last of C channels. Position p of the condensed map is (p // OW,
p % OW); tap t of the window, (t // KW, t % KW) of K, reads the pixel that lies so far from the position,
TOP and LEFT less, or zero outside. KP is a power of two, K or more. What is computed from patches is in
float64.
"""

import triton
import triton.language as tl

from .gate_kernels import decode


@triton.jit
def _patches(
    u, v, n, p, inside, C, H, width, OW,
    K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    STREAMS: tl.constexpr,
):  # fmt: skip
    """The patches of some positions of a sample, (positions, KP); zero where not ``inside``."""
    t = tl.arange(0, KP)
    i = p // OW
    r = i[:, None] + (t // KW)[None, :] - TOP
    c = (p - i * OW)[:, None] + (t % KW)[None, :] - LEFT
    mask = inside[:, None] & (t < K)[None, :] & (r >= 0) & (r < H) & (c >= 0) & (c < width)
    channel = (r // STREAMS) * width + c
    mask = mask & (channel < C)
    at = n * C + channel
    if STREAMS == 2:
        even = r % 2 == 0
        x = tl.load(u + at, mask=mask & even, other=0.0) + tl.load(
            v + at, mask=mask & (r % 2 == 1), other=0.0
        )
    else:
        x = tl.load(u + at, mask=mask, other=0.0)
    return x.to(tl.float64)


@triton.jit(do_not_specialize=['L', 'steps'])
def patch_moments(
    u, v, means, squares, C, H, width, OW, L, steps,
    K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    STREAMS: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """The mean of a chunk's patches, and a row of the sum of squares and products about it."""
    tap = tl.program_id(0)
    s = tl.program_id(1)
    n = tl.program_id(2)
    t = tl.arange(0, KP)
    start = s * steps * BP
    total = tl.zeros([BP, KP], dtype=tl.float64)
    for step in range(0, steps):
        p = start + step * BP + tl.arange(0, BP)
        total += _patches(u, v, n, p, p < L, C, H, width, OW, K, KP, KW, TOP, LEFT, STREAMS)
    count = tl.maximum(tl.minimum(steps * BP, L - start), 1)
    mean = tl.sum(total, axis=0) / count
    about = tl.zeros([BP, KP], dtype=tl.float64)
    for step in range(0, steps):
        p = start + step * BP + tl.arange(0, BP)
        inside = p < L
        x = _patches(u, v, n, p, inside, C, H, width, OW, K, KP, KW, TOP, LEFT, STREAMS)
        d = tl.where(inside[:, None], x - mean[None, :], 0.0)
        own = tl.sum(tl.where((t == tap)[None, :], d, 0.0), axis=1)
        about += own[:, None] * d
    row = n * tl.num_programs(1) + s
    tl.store(squares + (row * K + tap) * K + t, tl.sum(about, axis=0), mask=t < K)
    tl.store(means + row * K + t, mean, mask=(t < K) & (tap == 0))


@triton.jit
def excite_image(
    u, v, w1, w2, mean, effective, constant, condensed, code, g, C, H, width, OW, L, R,
    K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    STREAMS: tl.constexpr, BJ: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """One sample's condensed map, (L,), its code, (R,), and its gate, (C,)."""
    n = tl.program_id(0)
    oj = tl.arange(0, BJ)
    jm = oj < R
    t = tl.arange(0, KP)
    mu = tl.load(mean + t, mask=t < K, other=0.0)
    e = tl.load(effective + t, mask=t < K, other=0.0)
    added = tl.load(constant)
    total = tl.zeros([BJ, BK], dtype=tl.float32)
    for p0 in range(0, L, BK):
        p = p0 + tl.arange(0, BK)
        inside = p < L
        x = _patches(u, v, n, p, inside, C, H, width, OW, K, KP, KW, TOP, LEFT, STREAMS)
        m = (tl.sum((x - mu[None, :]) * e[None, :], axis=1) + added).to(tl.float32)
        tl.store(condensed + n * L + p, m, mask=inside)
        at = oj[:, None] * L + p[None, :]
        total += tl.load(w1 + at, mask=jm[:, None] & inside[None, :], other=0.0) * m[None, :]
    h = tl.sum(total, axis=1)
    h = tl.where(h < 0.0, 0.0, h)
    tl.store(code + n * R + oj, h, mask=jm)
    decode(h, None, w2, None, g, n, oj, jm, C, R, R, BK)


@triton.jit(do_not_specialize=['L', 'steps'])
def filter_sums(
    u, v, dmap, mean, sums, C, H, width, OW, L, steps,
    K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    STREAMS: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """A chunk's sums of the map's gradient times each of the K values of the centred patch, and of itself."""
    s = tl.program_id(0)
    n = tl.program_id(1)
    t = tl.arange(0, KP)
    mu = tl.load(mean + t, mask=t < K, other=0.0)
    products = tl.zeros([BP, KP], dtype=tl.float64)
    total = tl.zeros([BP], dtype=tl.float64)
    for step in range(0, steps):
        p = (s * steps + step) * BP + tl.arange(0, BP)
        inside = p < L
        d = tl.load(dmap + n * L + p, mask=inside, other=0.0).to(tl.float64)
        x = _patches(u, v, n, p, inside, C, H, width, OW, K, KP, KW, TOP, LEFT, STREAMS)
        products += d[:, None] * (x - mu[None, :])
        total += d
    row = sums + (n * tl.num_programs(0) + s) * (K + 1)
    tl.store(row + t, tl.sum(products, axis=0), mask=t < K)
    tl.store(row + K, tl.sum(total, axis=0))


@triton.jit
def image_gradients(
    u, v, dmap, mean, effective, matrix, shift, du, dv, C, H, width, OH, OW,
    K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    STREAMS: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """The gradients of some channels' means: what each patch that holds a pixel gives to it.

    With running statistics ``matrix`` and ``shift`` are None.
    """
    stream = tl.program_id(1)
    n = tl.program_id(2)
    oc = tl.program_id(0) * BP + tl.arange(0, BP)
    cm = oc < C
    r = (oc // width) * STREAMS + stream
    c = oc % width
    t = tl.arange(0, KP)
    mu = tl.load(mean + t, mask=t < K, other=0.0)
    moved = 0.0
    if shift is not None:
        moved = tl.load(shift)
    total = tl.zeros([BP], dtype=tl.float64)
    spread = tl.zeros([BP, KP], dtype=tl.float64)
    for tap in range(0, K):
        i = r - tap // KW + TOP
        j = c - tap % KW + LEFT
        inside = cm & (i >= 0) & (i < OH) & (j >= 0) & (j < OW)
        p = i * OW + j
        d = tl.load(dmap + n * OH * OW + p, mask=inside, other=0.0).to(tl.float64)
        total += tl.where(inside, tl.load(effective + tap) * (d - moved), 0.0)
        if matrix is not None:
            x = _patches(u, v, n, p, inside, C, H, width, OW, K, KP, KW, TOP, LEFT, STREAMS)
            row = tl.load(matrix + tap * K + t, mask=t < K, other=0.0)
            spread += tl.where(inside[:, None], row[None, :] * (x - mu[None, :]), 0.0)
    total += tl.sum(spread, axis=1)
    at = n * C + oc
    if STREAMS == 2:
        tl.store(du + at, total.to(tl.float32), mask=cm & (stream == 0))
        tl.store(dv + at, total.to(tl.float32), mask=cm & (stream == 1))
    else:
        tl.store(du + at, total.to(tl.float32), mask=cm)
