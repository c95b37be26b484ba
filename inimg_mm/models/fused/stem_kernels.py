"""The Triton kernels of a stem: ``out = maxpool(relu(norm(y)))``, 3x3 windows two apart, see :mod:`.stem`.

Window (i, j) begins at row ``2i - PAD`` and column ``2j - PAD``. ``index`` holds for each window which of its
nine pixels was the largest, row by row, 9 where the ReLU shut all. A tile is a piece of one row: BQ windows,
or BQ squares of 2x2 pixels, of BC channels. Element (n, h, w, c) of the map is at ``n * sn + h * sr +
w * sp + c * sc``; the pooled one has the strides tn, tr, sp and tc. CL, FULL and RUNNING are those of
:mod:`.map_kernels`.
"""

import triton
import triton.language as tl

from .map_kernels import norm_constants

UNSPECIALIZED = ['H', 'W', 'H2', 'W2', 'steps']


@triton.jit
def _mask(inside, cm, BC: tl.constexpr, FULL: tl.constexpr):
    if FULL:
        mask = inside[None, :] & tl.full([BC, 1], 1, tl.int1)
    else:
        mask = inside[None, :] & cm[:, None]
    return mask


@triton.jit
def _load_pair(
    row, j0, oc, cm, limit, sp, sc,
    BQ: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """Columns 2j and 2j + 1 of a row, each (BC, BQ); in NCHW they are read as one piece."""
    if CL:
        w = 2 * (j0 + tl.arange(0, BQ))
        at = row + oc[:, None] * sc + w[None, :] * sp
        even = tl.load(at, mask=_mask(w < limit, cm, BC, FULL), other=0.0)
        odd = tl.load(at + sp, mask=_mask(w + 1 < limit, cm, BC, FULL), other=0.0)
    else:
        w = 2 * j0 + tl.arange(0, 2 * BQ)
        both = tl.load(row + oc[:, None] * sc + w[None, :], mask=_mask(w < limit, cm, BC, FULL), other=0.0)
        even, odd = tl.split(tl.reshape(both, [BC, BQ, 2]))
    return even.to(tl.float32), odd.to(tl.float32)


@triton.jit
def _store_pair(
    row, even, odd, j0, oc, cm, limit, sp, sc,
    BQ: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    if CL:
        w = 2 * (j0 + tl.arange(0, BQ))
        at = row + oc[:, None] * sc + w[None, :] * sp
        tl.store(at, even, mask=_mask(w < limit, cm, BC, FULL))
        tl.store(at + sp, odd, mask=_mask(w + 1 < limit, cm, BC, FULL))
    else:
        w = 2 * j0 + tl.arange(0, 2 * BQ)
        both = tl.interleave(even, odd)
        tl.store(row + oc[:, None] * sc + w[None, :], both, mask=_mask(w < limit, cm, BC, FULL))


@triton.jit
def _against(best, code, v, inside, number: tl.constexpr, mu, a, b, DTYPE: tl.constexpr):
    """The larger of ``best`` and a normed pixel, rounded as it is stored; of equal ones the earlier."""
    z = ((v - mu[:, None]) * a[:, None] + b[:, None]).to(DTYPE).to(tl.float32)
    z = tl.where(inside, z, float('-inf'))
    larger = (z > best) | (z != z)  # the last NaN, as in torch
    return tl.where(larger, z, best), tl.where(larger, number, code)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def pool(
    y, out, index, mean, scale, weight, bias,
    H, W, H2, W2, C, sn, sr, sp, sc, tn, tr, tc, steps, eps,
    BQ: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr,
    RUNNING: tl.constexpr, PAD: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """Write ``out`` and ``index``, or one of them."""
    # backwards through memory: what the pass before touched last is still in the cache
    s = tl.num_programs(1) - 1 - tl.program_id(1)
    n = (tl.num_programs(2) - 1 - tl.program_id(2)).to(tl.int64)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    # NCHW: the strides are known to be multiples of 16 where they are, which keeps masked accesses wide
    width = W if CL else sr
    width2 = W2 if CL else tr
    mu, r, a, b = norm_constants(mean, scale, weight, bias, oc, cm, eps, RUNNING)
    blocks = (width2 + BQ - 1) // BQ
    for t in range(0, tl.minimum(steps, H2 * blocks - s * steps)):
        i = (s * steps + t) // blocks
        j0 = (s * steps + t) % blocks * BQ
        j = j0 + tl.arange(0, BQ)
        best = tl.zeros([BC, BQ], dtype=tl.float32)
        code = tl.full([BC, BQ], 9, tl.int32)
        for k in tl.static_range(3):
            h = 2 * i + k - PAD
            limit = tl.where((h >= 0) & (h < H), width, 0)
            row = y + n * sn + h * sr
            even, odd = _load_pair(row, j0, oc, cm, limit, sp, sc, BQ, BC, CL, FULL)
            w = 2 * j - 1 if PAD else 2 * j + 2
            third = (w >= 0) & (w < limit)
            at = row + oc[:, None] * sc + w[None, :] * sp
            v = tl.load(at, mask=_mask(third, cm, BC, FULL), other=0.0).to(tl.float32)
            if PAD:
                best, code = _against(best, code, v, third[None, :], 3 * k, mu, a, b, DTYPE)
            is_in = (2 * j < limit)[None, :]
            best, code = _against(best, code, even, is_in, 3 * k + PAD, mu, a, b, DTYPE)
            is_in = (2 * j + 1 < limit)[None, :]
            best, code = _against(best, code, odd, is_in, 3 * k + 1 + PAD, mu, a, b, DTYPE)
            if not PAD:
                best, code = _against(best, code, v, third[None, :], 3 * k + 2, mu, a, b, DTYPE)
        mask = _mask(j < width2, cm, BC, FULL)
        at = n * tn + i * tr + oc[:, None] * tc + j[None, :] * sp
        if out is not None:
            tl.store(out + at, best.to(DTYPE), mask=mask)
        if index is not None:
            tl.store(index + at, code.to(tl.int8), mask=mask)


@triton.jit
def _window(go, index, n, i, j, oc, cm, H2, width2, sp, tn, tr, tc, BC: tl.constexpr, FULL: tl.constexpr):
    """Gradient and largest pixel of windows (i, j); 9 outside of the pooled map."""
    mask = _mask((j >= 0) & (j < tl.where((i >= 0) & (i < H2), width2, 0)), cm, BC, FULL)
    at = n * tn + i * tr + oc[:, None] * tc + j[None, :] * sp
    d = tl.load(go + at, mask=mask, other=0.0).to(tl.float32)
    return d, tl.load(index + at, mask=mask, other=9).to(tl.int32)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def pool_gradients(
    go, index, y, dy, mean, scale, weight, bias, sums, centred, beta, gamma, inverse_count,
    H, W, H2, W2, C, sn, sr, sp, sc, tn, tr, tc, steps, eps,
    BQ: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr,
    RUNNING: tl.constexpr, PAD: tl.constexpr,
):  # fmt: skip
    """q, the gradient behind the norm: its sums over each chunk and those of q (y - mean), or ``dy``.

    ``dy = a (q - dbeta / M - x^ dgamma / M)``, with running statistics a q. A row or column of pixels is in
    one window, or in two: the next one is at D, and sees a pixel at NEXT that its own one sees at OWN.
    """
    D: tl.constexpr = 2 * PAD - 1
    OWN: tl.constexpr = 2 * PAD
    NEXT: tl.constexpr = 2 - 2 * PAD
    s = tl.program_id(1)
    n = tl.program_id(2).to(tl.int64)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    width = W if CL else sr
    width2 = W2 if CL else tr
    mu, r, a, b = norm_constants(mean, scale, weight, bias, oc, cm, eps, RUNNING)
    c0 = tl.zeros([BC], dtype=tl.float32)
    cy = tl.zeros([BC], dtype=tl.float32)
    if dy is not None and not RUNNING:
        share = tl.load(inverse_count)
        c0 = -a * share * tl.load(beta + oc, mask=cm, other=0.0)
        cy = -a * r * share * tl.load(gamma + oc, mask=cm, other=0.0)
    sum1 = tl.zeros([BC, BQ], dtype=tl.float32)
    sum2 = tl.zeros([BC, BQ], dtype=tl.float32)
    blocks = ((width + 1) // 2 + BQ - 1) // BQ
    for t in range(0, tl.minimum(steps, (H + 1) // 2 * blocks - s * steps)):
        i = (s * steps + t) // blocks
        j0 = (s * steps + t) % blocks * BQ
        j = j0 + tl.arange(0, BQ)
        d, at = _window(go, index, n, i, j, oc, cm, H2, width2, sp, tn, tr, tc, BC, FULL)
        one = tl.where(at == 4, d, 0.0)
        across = tl.where(at == 3 + OWN, d, 0.0)
        down = tl.where(at == 3 * OWN + 1, d, 0.0)
        both = tl.where(at == 4 * OWN, d, 0.0)
        d, at = _window(go, index, n, i, j + D, oc, cm, H2, width2, sp, tn, tr, tc, BC, FULL)
        across += tl.where(at == 3 + NEXT, d, 0.0)
        both += tl.where(at == 3 * OWN + NEXT, d, 0.0)
        d, at = _window(go, index, n, i + D, j, oc, cm, H2, width2, sp, tn, tr, tc, BC, FULL)
        down += tl.where(at == 3 * NEXT + 1, d, 0.0)
        both += tl.where(at == 3 * NEXT + OWN, d, 0.0)
        d, at = _window(go, index, n, i + D, j + D, oc, cm, H2, width2, sp, tn, tr, tc, BC, FULL)
        both += tl.where(at == 4 * NEXT, d, 0.0)
        for k in tl.static_range(2):
            if k == PAD:  # the row that is in two windows
                single, double = down, both
            else:
                single, double = one, across
            if PAD:
                even, odd = single, double
            else:
                even, odd = double, single
            h = 2 * i + k
            limit = tl.where(h < H, width, 0)
            row = n * sn + h * sr
            if (sums is not None) or not RUNNING:
                v0, v1 = _load_pair(y + row, j0, oc, cm, limit, sp, sc, BQ, BC, CL, FULL)
                v0 -= mu[:, None]
                v1 -= mu[:, None]
            if sums is not None:
                sum1 += even + odd
                sum2 += even * v0 + odd * v1
            if dy is not None:
                even = even * a[:, None]
                odd = odd * a[:, None]
                if not RUNNING:
                    even += c0[:, None] + cy[:, None] * v0
                    odd += c0[:, None] + cy[:, None] * v1
                even = even.to(dy.dtype.element_ty)
                odd = odd.to(dy.dtype.element_ty)
                _store_pair(dy + row, even, odd, j0, oc, cm, limit, sp, sc, BQ, BC, CL, FULL)
    if sums is not None:
        to = (n * tl.num_programs(1) + s) * C + oc
        tl.store(sums + to, tl.sum(sum1, axis=1), mask=cm)
        tl.store(centred + to, tl.sum(sum2, axis=1), mask=cm)
