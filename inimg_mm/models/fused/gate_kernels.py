"""The Triton kernels of a gate of fully connected layers.

``g = sigmoid(W2 [relu(W1 u + b1); relu(V1 v)] + b2)``, u and v, (N, L), the streams' means, L = C, or what
an inner image was condensed to. v and V1 are None with one stream, b1 and b2 where there are none. K is the
width of the code: R values a stream. A program has one sample, or some channels and codes of all samples; it
walks BK channels at once. BJ is R or more.
"""

import triton
import triton.language as tl


@triton.jit
def _sum_over_means(v, w, n, oj, jm, C, BJ: tl.constexpr, BK: tl.constexpr):
    total = tl.zeros([BJ, BK], dtype=tl.float32)
    for c0 in range(0, C, BK):
        oc = c0 + tl.arange(0, BK)
        cm = oc < C
        x = tl.load(v + n * C + oc, mask=cm, other=0.0)
        total += (
            tl.load(w + oj[:, None] * C + oc[None, :], mask=jm[:, None] & cm[None, :], other=0.0) * x[None, :]
        )
    return tl.sum(total, axis=1)


@triton.jit
def decode(h, h2, w2, b2, g, n, oj, jm, C, R, K, BK: tl.constexpr):
    """One sample's gate from its code, (R,), and the second stream's."""
    for c0 in range(0, C, BK):
        oc = c0 + tl.arange(0, BK)
        cm = oc < C
        mask = cm[:, None] & jm[None, :]
        z = tl.sum(tl.load(w2 + oc[:, None] * K + oj[None, :], mask=mask, other=0.0) * h[None, :], axis=1)
        if h2 is not None:
            other = tl.load(w2 + oc[:, None] * K + R + oj[None, :], mask=mask, other=0.0)
            z += tl.sum(other * h2[None, :], axis=1)
        if b2 is not None:
            z += tl.load(b2 + oc, mask=cm, other=0.0)
        tl.store(g + n * C + oc, 1.0 / (1.0 + tl.exp(-z)), mask=cm)


@triton.jit
def excite(u, v, w1, b1, v1, w2, b2, code, g, C, R, K, BJ: tl.constexpr, BK: tl.constexpr):
    """One sample's code, (K,), and gate, (C,)."""
    n = tl.program_id(0)
    oj = tl.arange(0, BJ)
    jm = oj < R
    h = _sum_over_means(u, w1, n, oj, jm, C, BJ, BK)
    if b1 is not None:
        h += tl.load(b1 + oj, mask=jm, other=0.0)
    h = tl.where(h < 0.0, 0.0, h)
    tl.store(code + n * K + oj, h, mask=jm)
    if v1 is None:
        h2 = None
    else:
        h2 = _sum_over_means(v, v1, n, oj, jm, C, BJ, BK)
        h2 = tl.where(h2 < 0.0, 0.0, h2)
        tl.store(code + n * K + R + oj, h2, mask=jm)
    decode(h, h2, w2, b2, g, n, oj, jm, C, R, K, BK)


@triton.jit
def _to_means(w, dh, to, n, oj, jm, C, BK: tl.constexpr):
    for c0 in range(0, C, BK):
        oc = c0 + tl.arange(0, BK)
        cm = oc < C
        t = tl.load(w + oj[:, None] * C + oc[None, :], mask=jm[:, None] & cm[None, :], other=0.0)
        tl.store(to + n * C + oc, tl.sum(t * dh[:, None], axis=0), mask=cm)


@triton.jit
def mean_gradients(
    dg, g, code, w1, v1, w2, dz, dcode, du, dv, C, L, R, K, BJ: tl.constexpr, BK: tl.constexpr
):  # fmt: skip
    """One sample's gradients of the logits, of the code before its ReLU, and of the means."""
    n = tl.program_id(0)
    oj = tl.arange(0, BJ)
    jm = oj < R
    sum1 = tl.zeros([BK, BJ], dtype=tl.float32)
    sum2 = tl.zeros([BK, BJ], dtype=tl.float32)
    for c0 in range(0, C, BK):
        oc = c0 + tl.arange(0, BK)
        cm = oc < C
        mask = cm[:, None] & jm[None, :]
        gate = tl.load(g + n * C + oc, mask=cm, other=0.0)
        d = tl.load(dg + n * C + oc, mask=cm, other=0.0) * gate * (1.0 - gate)
        tl.store(dz + n * C + oc, d, mask=cm)
        sum1 += tl.load(w2 + oc[:, None] * K + oj[None, :], mask=mask, other=0.0) * d[:, None]
        if v1 is not None:
            sum2 += tl.load(w2 + oc[:, None] * K + R + oj[None, :], mask=mask, other=0.0) * d[:, None]
    dh = tl.sum(sum1, axis=0)
    dh = tl.where(tl.load(code + n * K + oj, mask=jm, other=0.0) <= 0.0, 0.0, dh)
    tl.store(dcode + n * K + oj, dh, mask=jm)
    _to_means(w1, dh, du, n, oj, jm, L, BK)
    if v1 is not None:
        dh2 = tl.sum(sum2, axis=0)
        dh2 = tl.where(tl.load(code + n * K + R + oj, mask=jm, other=0.0) <= 0.0, 0.0, dh2)
        tl.store(dcode + n * K + R + oj, dh2, mask=jm)
        _to_means(v1, dh2, dv, n, oj, jm, L, BK)


@triton.jit(do_not_specialize=['N'])
def weight_gradients(
    u, v, code, dz, dcode, dw1, db1, dv1, dw2, db2, N, C, L, R, K,
    BN: tl.constexpr, BC: tl.constexpr, BJ: tl.constexpr,
):  # fmt: skip
    """Gradients of the layers: sums over all samples, in order."""
    block = tl.program_id(0)
    part = tl.program_id(1)
    oc = block * BC + tl.arange(0, BC)
    oj = part * BJ + tl.arange(0, BJ)
    cm = oc < C
    lm = oc < L
    jm = oj < R
    of_w1 = tl.zeros([BC, BJ], dtype=tl.float32)
    of_v1 = tl.zeros([BC, BJ], dtype=tl.float32)
    of_w2 = tl.zeros([BC, BJ], dtype=tl.float32)
    of_w2v = tl.zeros([BC, BJ], dtype=tl.float32)
    of_b1 = tl.zeros([BN, BJ], dtype=tl.float32)
    of_b2 = tl.zeros([BN, BC], dtype=tl.float32)
    for n0 in range(0, N, BN):
        row = n0 + tl.arange(0, BN)
        rows_c = (row < N)[:, None] & cm[None, :]
        rows_l = (row < N)[:, None] & lm[None, :]
        rows_j = (row < N)[:, None] & jm[None, :]
        at_c = row[:, None] * C + oc[None, :]
        at_l = row[:, None] * L + oc[None, :]
        at_j = row[:, None] * K + oj[None, :]
        d = tl.load(dz + at_c, mask=rows_c, other=0.0)
        dh = tl.load(dcode + at_j, mask=rows_j, other=0.0)
        h = tl.load(code + at_j, mask=rows_j, other=0.0)
        m = tl.load(u + at_l, mask=rows_l, other=0.0)
        of_w1 = tl.dot(tl.trans(m), dh, of_w1, input_precision='ieee')
        of_w2 = tl.dot(tl.trans(d), h, of_w2, input_precision='ieee')
        of_b1 += dh
        of_b2 += d
        if dv1 is not None:
            dh = tl.load(dcode + at_j + R, mask=rows_j, other=0.0)
            h = tl.load(code + at_j + R, mask=rows_j, other=0.0)
            m = tl.load(v + at_l, mask=rows_l, other=0.0)
            of_v1 = tl.dot(tl.trans(m), dh, of_v1, input_precision='ieee')
            of_w2v = tl.dot(tl.trans(d), h, of_w2v, input_precision='ieee')
    mask = cm[:, None] & jm[None, :]
    of_means = lm[:, None] & jm[None, :]
    tl.store(dw1 + oj[None, :] * L + oc[:, None], of_w1, mask=of_means)
    tl.store(dw2 + oc[:, None] * K + oj[None, :], of_w2, mask=mask)
    if dv1 is not None:
        tl.store(dv1 + oj[None, :] * L + oc[:, None], of_v1, mask=of_means)
        tl.store(dw2 + oc[:, None] * K + R + oj[None, :], of_w2v, mask=mask)
    if db1 is not None:
        tl.store(db1 + oj, tl.sum(of_b1, axis=0), mask=jm & (block == 0))
    if db2 is not None:
        tl.store(db2 + oc, tl.sum(of_b2, axis=0), mask=cm & (part == 0))
