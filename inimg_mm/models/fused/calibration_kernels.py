"""The Triton kernels of SCConv's calibration, ``out = t sigmoid(l)``, see :mod:`.calibrate`.

t is z3 behind its norm, l is z2 behind its norm, upsampled, plus y where there is one. The maps are walked
over as in :mod:`.map_kernels`, sample by sample. Position p = h W + w of a map reads position ``rows[h] W2 +
cols[w]`` of z2, whose strides are sn2, sp2 and sc2. RUNNING2 is RUNNING of z2's norm.
"""

import triton
import triton.language as tl

from .map_kernels import UNSPECIALIZED, norm_constants, tile_mask

FREE = [*UNSPECIALIZED, 'W', 'W2']


@triton.jit
def _logits(y, z2, at, p, oc, mask, rows, cols, n, W, W2, sn2, sp2, sc2, limit, mu2, a2, b2):
    h = p // W
    inside = p < limit
    i = tl.load(rows + h, mask=inside, other=0)
    j = tl.load(cols + p - h * W, mask=inside, other=0)
    at2 = n.to(tl.int64) * sn2 + (i * W2 + j)[:, None] * sp2 + oc[None, :] * sc2
    z = tl.load(z2 + at2, mask=mask, other=0.0).to(tl.float32)
    logits = (z - mu2[None, :]) * a2[None, :] + b2[None, :]
    if y is not None:
        logits += tl.load(y + at, mask=mask, other=0.0).to(tl.float32)
    return logits


@triton.jit(do_not_specialize=FREE)
def calibrate(
    z3, y, z2, out, mean, scale, weight, bias, mean2, scale2, weight2, bias2, rows, cols,
    HW, C, sn, sp, sc, steps, W, W2, sn2, sp2, sc2, eps, eps2,
    BP: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr, EIGHT: tl.constexpr,
    RUNNING: tl.constexpr, RUNNING2: tl.constexpr,
):  # fmt: skip
    """Write ``out``."""
    s = tl.num_programs(1) - 1 - tl.program_id(1)
    n = tl.num_programs(2) - 1 - tl.program_id(2)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    if EIGHT:
        sc = sc // 8 * 8
    limit = HW if CL else sc
    base = n.to(tl.int64) * sn
    mu, r, a, b = norm_constants(mean, scale, weight, bias, oc, cm, eps, RUNNING)
    mu2, r2, a2, b2 = norm_constants(mean2, scale2, weight2, bias2, oc, cm, eps2, RUNNING2)
    for t in range(0, tl.minimum(steps, (limit + BP - 1) // BP - s * steps)):
        p = (s * steps + t) * BP + tl.arange(0, BP)
        mask = tile_mask(p, limit, cm, BC, FULL)
        at = base + p[:, None] * sp + oc[None, :] * sc
        v = tl.load(z3 + at, mask=mask, other=0.0).to(tl.float32)
        logits = _logits(y, z2, at, p, oc, mask, rows, cols, n, W, W2, sn2, sp2, sc2, limit, mu2, a2, b2)
        o = ((v - mu[None, :]) * a[None, :] + b[None, :]) / (1.0 + tl.exp(-logits))
        tl.store(out + at, o.to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=FREE)
def calibration_gradients(
    go, z3, y, z2, dl, dz3, mean, scale, weight, bias, mean2, scale2, weight2, bias2, rows, cols,
    sums, centred, beta, gamma, inverse_count,
    HW, C, sn, sp, sc, steps, W, W2, sn2, sp2, sc2, eps, eps2,
    BP: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr, EIGHT: tl.constexpr,
    RUNNING: tl.constexpr, RUNNING2: tl.constexpr,
):  # fmt: skip
    """Of ``dt = go sigmoid(l)`` and ``dl = go t sigmoid(l) (1 - sigmoid(l))`` what is asked for.

    ``dl``; the sums over each chunk of dt and dt (z3 - mean); ``dz3 = a (dt - dbeta / M - x^ dgamma / M)``,
    with running statistics a dt.
    """
    s = tl.program_id(1)
    n = tl.program_id(2)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    if EIGHT:
        sc = sc // 8 * 8
    limit = HW if CL else sc
    base = n.to(tl.int64) * sn
    mu, r, a, b = norm_constants(mean, scale, weight, bias, oc, cm, eps, RUNNING)
    mu2, r2, a2, b2 = norm_constants(mean2, scale2, weight2, bias2, oc, cm, eps2, RUNNING2)
    sum1 = tl.zeros([BP, BC], dtype=tl.float32)
    sum2 = tl.zeros([BP, BC], dtype=tl.float32)
    if dz3 is not None and not RUNNING:
        share = tl.load(inverse_count)
        c0 = -a * share * tl.load(beta + oc, mask=cm, other=0.0)
        cz = -a * r * share * tl.load(gamma + oc, mask=cm, other=0.0)
    for t in range(0, tl.minimum(steps, (limit + BP - 1) // BP - s * steps)):
        p = (s * steps + t) * BP + tl.arange(0, BP)
        mask = tile_mask(p, limit, cm, BC, FULL)
        at = base + p[:, None] * sp + oc[None, :] * sc
        d = tl.load(go + at, mask=mask, other=0.0).to(tl.float32)
        v = tl.load(z3 + at, mask=mask, other=0.0).to(tl.float32) - mu[None, :]
        logits = _logits(y, z2, at, p, oc, mask, rows, cols, n, W, W2, sn2, sp2, sc2, limit, mu2, a2, b2)
        gate = 1.0 / (1.0 + tl.exp(-logits))
        d = d * gate
        if dl is not None:
            of_logits = d * (1.0 - gate) * (v * a[None, :] + b[None, :])
            tl.store(dl + at, of_logits.to(dl.dtype.element_ty), mask=mask)
        if sums is not None:
            sum1 += tl.where(mask, d, 0.0)
            sum2 += tl.where(mask, d * v, 0.0)
        if dz3 is not None:
            full = d * a[None, :]
            if not RUNNING:
                full += c0[None, :] + cz[None, :] * v
            tl.store(dz3 + at, full.to(dz3.dtype.element_ty), mask=mask)
    if sums is not None:
        row = (n * tl.num_programs(1) + s) * C + oc
        tl.store(sums + row, tl.sum(sum1, axis=0), mask=cm)
        tl.store(centred + row, tl.sum(sum2, axis=0), mask=cm)


@triton.jit(do_not_specialize=['HW2', 'W', 'W2', 'highest', 'widest'])
def cell_sums(
    dl, small, first_row, first_col, HW2, C, W, W2, sn, sp, sc, sn2, sp2, sc2, highest, widest,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """The sum of ``dl`` over the positions that each cell of the small map was upsampled to.

    Cell (i, j) has rows ``first_row[i]`` to ``first_row[i + 1]`` and columns likewise, at most ``highest`` x
    ``widest`` positions.
    """
    n = tl.program_id(2)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    p = tl.program_id(1) * BP + tl.arange(0, BP)
    inside = p < HW2
    i = p // W2
    j = p - i * W2
    h0 = tl.load(first_row + i, mask=inside, other=0)
    h1 = tl.load(first_row + i + 1, mask=inside, other=0)
    w0 = tl.load(first_col + j, mask=inside, other=0)
    w1 = tl.load(first_col + j + 1, mask=inside, other=0)
    base = dl + n.to(tl.int64) * sn
    cm = (oc < C)[None, :]
    total = tl.zeros([BP, BC], dtype=tl.float32)
    for row in range(0, highest):
        for col in range(0, widest):
            h = h0 + row
            w = w0 + col
            mask = (inside & (h < h1) & (w < w1))[:, None] & cm
            total += tl.load(base + (h * W + w)[:, None] * sp + oc[None, :] * sc, mask=mask, other=0.0).to(
                tl.float32
            )
    at = n.to(tl.int64) * sn2 + p[:, None] * sp2 + oc[None, :] * sc2
    tl.store(small + at, total.to(small.dtype.element_ty), mask=inside[:, None] & cm)
