"""The Triton kernels that walk over a block's maps: each pass reads and writes a big tensor once.

A program has a tile of BP positions and BC channels, and walks ``steps`` tiles of one sample (of all samples
at once where a channels-last map needs no number a sample). Element (n, p, c) of a map is at
``n * sn + p * sp + c * sc``; channels last is CL. Arithmetic is in float32, about the mean of the norm.
An absent tensor is None. FULL: C is a multiple of BC. RUNNING: ``scale`` is a running variance, otherwise
1 / deviation. EIGHT: ``sc`` is a multiple of 8, and the compiler, who asks about 16 alone, is to know it.

Partial sums go to rows of their own (``rows[program of a sample, channel]``), which a kernel of
:mod:`.channel_kernels` adds up: no atomics, so that results repeat bit for bit.
"""

import triton
import triton.language as tl

UNSPECIALIZED = ['HW', 'steps']
"""Arguments that follow from a map's size and must not compile a kernel anew."""


@triton.jit
def norm_constants(mean, scale, weight, bias, oc, cm, eps, RUNNING: tl.constexpr):
    """Mean, 1 / deviation, gamma / deviation and beta of some channels."""
    mu = tl.load(mean + oc, mask=cm, other=0.0).to(tl.float32)
    r = tl.load(scale + oc, mask=cm, other=1.0).to(tl.float32)
    if RUNNING:
        r = 1.0 / tl.sqrt(r + eps)
    a = r * tl.load(weight + oc, mask=cm, other=0.0).to(tl.float32)
    b = tl.load(bias + oc, mask=cm, other=0.0).to(tl.float32)
    return mu, r, a, b


@triton.jit
def tile_mask(p, limit, cm, BC: tl.constexpr, FULL: tl.constexpr):
    """Which elements of a tile are in the map; wide accesses where a row of it is in or out as a whole."""
    if FULL:
        mask = (p < limit)[:, None] & tl.full([1, BC], 1, tl.int1)
    else:
        mask = (p < limit)[:, None] & cm[None, :]
    return mask


@triton.jit(do_not_specialize=UNSPECIALIZED)
def moments(
    y, means, squares, HW, C, sn, sp, sc, steps,
    BP: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    """Each chunk's mean and, where asked for, its sum of squares about that mean."""
    s = tl.program_id(1)
    n = tl.program_id(2)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    # NCHW: sc is HW and known to be a multiple of 16 or 8 where it is, which keeps masked accesses wide
    if EIGHT:
        sc = sc // 8 * 8
    limit = HW if CL else sc
    start = y + n.to(tl.int64) * sn
    first = tl.minimum(s * steps * BP, limit - 1)
    shift = tl.load(start + first * sp + oc * sc, mask=cm, other=0.0).to(tl.float32)
    sum1 = tl.zeros([BP, BC], dtype=tl.float32)
    sum2 = tl.zeros([BP, BC], dtype=tl.float32)
    for t in range(0, tl.minimum(steps, (limit + BP - 1) // BP - s * steps)):
        p = (s * steps + t) * BP + tl.arange(0, BP)
        mask = tile_mask(p, limit, cm, BC, FULL)
        v = tl.load(start + p[:, None] * sp + oc[None, :] * sc, mask=mask, other=0.0).to(tl.float32)
        d = tl.where(mask, v - shift[None, :], 0.0)
        sum1 += d
        if squares is not None:
            sum2 += d * d
    count = tl.maximum(tl.minimum(steps * BP, limit - s * steps * BP), 1).to(tl.float32)
    total = tl.sum(sum1, axis=0)
    row = (n * tl.num_programs(1) + s) * C + oc
    tl.store(means + row, shift + total / count, mask=cm)
    if squares is not None:
        rest = tl.sum(sum2, axis=0) - total * total / count
        tl.store(squares + row, tl.where(rest < 0.0, 0.0, rest), mask=cm)  # keeps NaN


@triton.jit(do_not_specialize=UNSPECIALIZED)
def apply(
    y, x, g, out, means, mean, scale, weight, bias, mean2, scale2, weight2, bias2,
    HW, C, sn, sp, sc, steps, eps, eps2,
    BP: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr, EIGHT: tl.constexpr,
    RUNNING: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """``out = relu(x + g (a (y - mean) + beta))``; with ``mean2``, x is first normed by its own constants.

    ``means``: the mean of each chunk of the output, as it is stored.
    """
    # backwards through memory: what the pass before touched last is still in the cache
    s = tl.num_programs(1) - 1 - tl.program_id(1)
    n = tl.num_programs(2) - 1 - tl.program_id(2)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    if EIGHT:
        sc = sc // 8 * 8
    limit = HW if CL else sc
    base = n.to(tl.int64) * sn
    mu, r, a, b = norm_constants(mean, scale, weight, bias, oc, cm, eps, RUNNING)
    if g is not None:
        gate = tl.load(g + n * C + oc, mask=cm, other=0.0)
        a = a * gate
        b = b * gate
    if mean2 is not None:
        mu2, r2, a2, b2 = norm_constants(mean2, scale2, weight2, bias2, oc, cm, eps2, RUNNING)
    total = tl.zeros([BP, BC], dtype=tl.float32)
    for t in range(0, tl.minimum(steps, (limit + BP - 1) // BP - s * steps)):
        p = (s * steps + t) * BP + tl.arange(0, BP)
        mask = tile_mask(p, limit, cm, BC, FULL)
        at = base + p[:, None] * sp + oc[None, :] * sc
        v = tl.load(y + at, mask=mask, other=0.0).to(tl.float32)
        o = (v - mu[None, :]) * a[None, :] + b[None, :]
        if x is not None:
            z = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
            if mean2 is not None:
                z = (z - mu2[None, :]) * a2[None, :] + b2[None, :]
            o = z + o
        if RELU:
            o = tl.where(o < 0.0, 0.0, o)  # keeps NaN, as torch's does
        stored = o.to(out.dtype.element_ty)
        tl.store(out + at, stored, mask=mask)
        if means is not None:
            total += tl.where(mask, stored.to(tl.float32), 0.0)
    if means is not None:
        count = tl.maximum(tl.minimum(steps * BP, limit - s * steps * BP), 1).to(tl.float32)
        row = (n * tl.num_programs(1) + s) * C + oc
        tl.store(means + row, tl.sum(total, axis=0) / count, mask=cm)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def gradient_sums(
    go, out, y, y2, g, q, dy, dy2, mean, scale, weight, bias, mean2, scale2, weight2, bias2,
    sums, centred, centred2, HW, C, sn, sp, sc, steps, eps, eps2,
    BP: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr, EIGHT: tl.constexpr,
    RUNNING: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """q, the gradient behind the ReLU, and its sums over each chunk: of q, q (y - mean) and q (y2 - mean2).

    The ReLU's sign is that of ``out``, which is made again where that is None. ``dy`` and ``dy2`` are
    written where the gradient is just ``a g q`` (running statistics, and no squeeze).
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
    ag = a
    bg = b
    if g is not None:
        gate = tl.load(g + n * C + oc, mask=cm, other=0.0)
        ag = a * gate
        bg = b * gate
    if mean2 is not None:
        mu2, r2, a2, b2 = norm_constants(mean2, scale2, weight2, bias2, oc, cm, eps2, RUNNING)
    sum1 = tl.zeros([BP, BC], dtype=tl.float32)
    sum2 = tl.zeros([BP, BC], dtype=tl.float32)
    sum3 = tl.zeros([BP, BC], dtype=tl.float32)
    for t in range(0, tl.minimum(steps, (limit + BP - 1) // BP - s * steps)):
        p = (s * steps + t) * BP + tl.arange(0, BP)
        mask = tile_mask(p, limit, cm, BC, FULL)
        at = base + p[:, None] * sp + oc[None, :] * sc
        d = tl.load(go + at, mask=mask, other=0.0).to(tl.float32)
        if (sums is not None) or (RELU and out is None):
            v = tl.load(y + at, mask=mask, other=0.0).to(tl.float32) - mu[None, :]
        if (centred2 is not None) or (RELU and out is None and mean2 is not None):
            z = tl.load(y2 + at, mask=mask, other=0.0).to(tl.float32) - mu2[None, :]
        if RELU:
            if out is None:
                o = v * ag[None, :] + bg[None, :]
                if mean2 is not None:
                    o = (z * a2[None, :] + b2[None, :]) + o
                    o = o.to(go.dtype.element_ty).to(tl.float32)  # as it was stored
            else:
                o = tl.load(out + at, mask=mask, other=0.0).to(tl.float32)
            d = tl.where(o <= 0.0, 0.0, d)
        if q is not None:
            tl.store(q + at, d.to(q.dtype.element_ty), mask=mask)
        if dy is not None:
            tl.store(dy + at, (d * ag[None, :]).to(dy.dtype.element_ty), mask=mask)
        if dy2 is not None:
            tl.store(dy2 + at, (d * a2[None, :]).to(dy2.dtype.element_ty), mask=mask)
        if sums is not None:
            sum1 += tl.where(mask, d, 0.0)
            sum2 += tl.where(mask, d * v, 0.0)
            if centred2 is not None:
                sum3 += tl.where(mask, d * z, 0.0)
    if sums is not None:
        row = (n * tl.num_programs(1) + s) * C + oc
        tl.store(sums + row, tl.sum(sum1, axis=0), mask=cm)
        tl.store(centred + row, tl.sum(sum2, axis=0), mask=cm)
        if centred2 is not None:
            tl.store(centred2 + row, tl.sum(sum3, axis=0), mask=cm)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def input_gradients(
    q, y, y2, g, du, dv, dy, dy2, mean, scale, weight, bias, mean2, scale2, weight2,
    beta, gamma, beta2, gamma2, inverse_count, HW, C, sn, sp, sc, steps, inverse_hw, eps, eps2,
    BP: tl.constexpr, BC: tl.constexpr, CL: tl.constexpr, FULL: tl.constexpr, EIGHT: tl.constexpr,
    RUNNING: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """``dy = a (g q + du / HW - dbeta / M - x^ dgamma / M)``, and the shortcut's: ``q + dv / HW``, in place.

    With ``dy2`` the shortcut is a norm of y2, and its gradient is ``a2 (q + dv / HW - dbeta2 / M - ...)``.
    RELU: q is still the output's gradient and the sign that of the norm's output.
    """
    s = tl.num_programs(1) - 1 - tl.program_id(1)
    n = tl.num_programs(2) - 1 - tl.program_id(2)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    if EIGHT:
        sc = sc // 8 * 8
    limit = HW if CL else sc
    base = n.to(tl.int64) * sn
    mu, r, a, b = norm_constants(mean, scale, weight, bias, oc, cm, eps, RUNNING)
    ag = a
    c0 = tl.zeros([BC], dtype=tl.float32)
    e0 = tl.zeros([BC], dtype=tl.float32)
    if g is not None:
        ag = a * tl.load(g + n * C + oc, mask=cm, other=0.0)
    if du is not None:
        c0 += a * inverse_hw * tl.load(du + n * C + oc, mask=cm, other=0.0)
    if dv is not None:
        e0 += inverse_hw * tl.load(dv + n * C + oc, mask=cm, other=0.0)
    if not RUNNING:
        share = tl.load(inverse_count)
        c0 -= a * share * tl.load(beta + oc, mask=cm, other=0.0)
        cy = -a * r * share * tl.load(gamma + oc, mask=cm, other=0.0)
    if dy2 is not None:
        mu2, r2, a2, b2 = norm_constants(mean2, scale2, weight2, weight2, oc, cm, eps2, RUNNING)
        e0 = a2 * e0
        if not RUNNING:
            e0 -= a2 * share * tl.load(beta2 + oc, mask=cm, other=0.0)
            ez = -a2 * r2 * share * tl.load(gamma2 + oc, mask=cm, other=0.0)
    for t in range(0, tl.minimum(steps, (limit + BP - 1) // BP - s * steps)):
        p = (s * steps + t) * BP + tl.arange(0, BP)
        mask = tile_mask(p, limit, cm, BC, FULL)
        at = base + p[:, None] * sp + oc[None, :] * sc
        d = tl.load(q + at, mask=mask, other=0.0).to(tl.float32)
        if RUNNING:
            full = d * ag[None, :] + c0[None, :]
        else:
            v = tl.load(y + at, mask=mask, other=0.0).to(tl.float32) - mu[None, :]
            if RELU:
                d = tl.where(v * a[None, :] + b[None, :] <= 0.0, 0.0, d)
            full = d * ag[None, :] + (c0[None, :] + cy[None, :] * v)
        tl.store(dy + at, full.to(dy.dtype.element_ty), mask=mask)
        if dy2 is not None:
            other = d * a2[None, :] + e0[None, :]
            if not RUNNING:
                z = tl.load(y2 + at, mask=mask, other=0.0).to(tl.float32) - mu2[None, :]
                other += ez[None, :] * z
            tl.store(dy2 + at, other.to(dy2.dtype.element_ty), mask=mask)
        elif dv is not None:
            tl.store(q + at, (d + e0[None, :]).to(q.dtype.element_ty), mask=mask)
