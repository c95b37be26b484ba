"""The Triton kernels over what is left of a map: a few numbers per channel, per sample or chunk.

``rows`` are what the programs of :mod:`.map_kernels` left behind, row ``n * S + s`` for chunk s of sample n.
A chunk has ``chunk`` positions, the last of a sample what is left of HW. Sums run over the rows in order.
Where a kernel has a second set of arguments, which end in 2, an axis of its grid chooses between the two.
"""

import triton
import triton.language as tl

from .map_kernels import norm_constants


@triton.jit
def _chunk_size(row, S, HW, chunk):
    return tl.maximum(tl.minimum(chunk, HW - (row % S) * chunk), 0).to(tl.float32)


@triton.jit
def _merge(
    means, squares, mean, scale, share, running_mean, running_var, batches,
    R, S, HW, chunk, count, momentum, eps, C,
    BR: tl.constexpr, BC: tl.constexpr, LOCAL: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    oc = block * BC + tl.arange(0, BC)
    cm = oc < C
    shift = tl.load(means + oc, mask=cm, other=0.0)
    sum1 = tl.zeros([BR, BC], dtype=tl.float32)
    sum2 = tl.zeros([BR, BC], dtype=tl.float32)
    for r0 in range(0, R, BR):
        row = r0 + tl.arange(0, BR)
        mask = (row < R)[:, None] & cm[None, :]
        size = _chunk_size(row, S, HW, chunk)[:, None]
        at = row[:, None] * C + oc[None, :]
        d = tl.where(mask, tl.load(means + at, mask=mask, other=0.0) - shift[None, :], 0.0)
        sum1 += size * d
        sum2 += tl.load(squares + at, mask=mask, other=0.0) + size * d * d
    off = tl.sum(sum1, axis=0) / count
    mu = shift + off
    about = tl.sum(sum2, axis=0) - count * off * off
    about = tl.where(about < 0.0, 0.0, about)
    tl.store(mean + oc, mu, mask=cm)
    if LOCAL:
        tl.store(scale + oc, about, mask=cm)
        if block == 0:
            tl.store(share, count)
    else:
        var = about / count
        tl.store(scale + oc, 1.0 / tl.sqrt(var + eps), mask=cm)
        if block == 0:
            tl.store(share, 1.0 / count)
        if running_mean is not None:
            old = tl.load(running_mean + oc, mask=cm, other=0.0)
            tl.store(running_mean + oc, old + momentum * (mu - old), mask=cm)
            old = tl.load(running_var + oc, mask=cm, other=0.0)
            tl.store(running_var + oc, old + momentum * (about / (count - 1.0) - old), mask=cm)
            if block == 0:
                tl.store(batches, tl.load(batches) + 1)


@triton.jit(do_not_specialize=['R', 'S', 'HW', 'chunk', 'R2', 'S2', 'HW2', 'chunk2'])
def merge(
    means, squares, mean, scale, share, running_mean, running_var, batches,
    R, S, HW, chunk, count, momentum, eps,
    means2, squares2, mean2, scale2, share2, running_mean2, running_var2, batches2,
    R2, S2, HW2, chunk2, count2, momentum2, eps2,
    C, BR: tl.constexpr, BC: tl.constexpr, LOCAL: tl.constexpr,
):  # fmt: skip
    """Batch statistics from the chunks' moments: mean, 1 / deviation and 1 / count; running ones follow.

    LOCAL: of one process among several: mean, sum of squares about it, and count.
    """
    if tl.program_id(1) == 0:
        _merge(
            means, squares, mean, scale, share, running_mean, running_var, batches,
            R, S, HW, chunk, count, momentum, eps, C, BR, BC, LOCAL,
        )  # fmt: skip
    elif means2 is not None:
        _merge(
            means2, squares2, mean2, scale2, share2, running_mean2, running_var2, batches2,
            R2, S2, HW2, chunk2, count2, momentum2, eps2, C, BR, BC, LOCAL,
        )  # fmt: skip


@triton.jit
def _squeeze(
    means, squeezed, centred, mean, scale, weight, bias, S, chunk, eps, HW, C,
    BS: tl.constexpr, BC: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    if mean is None:
        mu = tl.load(means + n * S * C + oc, mask=cm, other=0.0)
    else:
        mu, r, a, b = norm_constants(mean, scale, weight, bias, oc, cm, eps, RUNNING)
    total = tl.zeros([BC], dtype=tl.float32)
    for s0 in range(0, S, BS):
        s = s0 + tl.arange(0, BS)
        mask = (s < S)[:, None] & cm[None, :]
        v = tl.load(means + (n * S + s)[:, None] * C + oc[None, :], mask=mask, other=0.0)
        size = _chunk_size(s, S, HW, chunk)[:, None]
        total += tl.sum(tl.where(mask, size * (v - mu[None, :]), 0.0), axis=0)
    m = total / HW
    if mean is None:
        tl.store(squeezed + n * C + oc, mu + m, mask=cm)
    else:
        tl.store(squeezed + n * C + oc, a * m + b, mask=cm)
        tl.store(centred + n * C + oc, m, mask=cm)


@triton.jit(do_not_specialize=['S', 'chunk', 'S2', 'chunk2', 'HW'])
def squeeze(
    means, squeezed, centred, mean, scale, weight, bias, S, chunk, eps,
    means2, squeezed2, centred2, mean2, scale2, weight2, bias2, S2, chunk2, eps2,
    HW, C, BS: tl.constexpr, BC: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    """A sample's mean of each channel's norm, and its mean about the norm's; without a norm just its mean."""
    if tl.program_id(2) == 0:
        _squeeze(
            means, squeezed, centred, mean, scale, weight, bias, S, chunk, eps, HW, C, BS, BC, RUNNING
        )  # fmt: skip
    elif means2 is not None:
        _squeeze(
            means2, squeezed2, centred2, mean2, scale2, weight2, bias2, S2, chunk2, eps2,
            HW, C, BS, BC, RUNNING,
        )  # fmt: skip


@triton.jit(do_not_specialize=['S'])
def gate_gradient(
    sums, centred, centred2, all_sums, all_centred, all_centred2, dg,
    mean, scale, weight, bias, S, C, eps,
    BS: tl.constexpr, BC: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    """Each sample's sums from its chunks', and the gate's gradient: ``a S2 + beta S1``."""
    n = tl.program_id(1)
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    mu, r, a, b = norm_constants(mean, scale, weight, bias, oc, cm, eps, RUNNING)
    sum1 = tl.zeros([BC], dtype=tl.float32)
    sum2 = tl.zeros([BC], dtype=tl.float32)
    sum3 = tl.zeros([BC], dtype=tl.float32)
    for s0 in range(0, S, BS):
        s = s0 + tl.arange(0, BS)
        mask = (s < S)[:, None] & cm[None, :]
        at = (n * S + s)[:, None] * C + oc[None, :]
        sum1 += tl.sum(tl.load(sums + at, mask=mask, other=0.0), axis=0)
        sum2 += tl.sum(tl.load(centred + at, mask=mask, other=0.0), axis=0)
        if centred2 is not None:
            sum3 += tl.sum(tl.load(centred2 + at, mask=mask, other=0.0), axis=0)
    to = n * C + oc
    tl.store(all_sums + to, sum1, mask=cm)
    tl.store(all_centred + to, sum2, mask=cm)
    tl.store(dg + to, a * sum2 + b * sum1, mask=cm)
    if centred2 is not None:
        tl.store(all_centred2 + to, sum3, mask=cm)


@triton.jit
def _affine_gradients(
    sums, centred, g, du, means, beta, gamma, scale, R, rows_a_gate, eps, C,
    BR: tl.constexpr, BC: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    oc = tl.program_id(0) * BC + tl.arange(0, BC)
    cm = oc < C
    sum1 = tl.zeros([BR, BC], dtype=tl.float32)
    sum2 = tl.zeros([BR, BC], dtype=tl.float32)
    for r0 in range(0, R, BR):
        row = r0 + tl.arange(0, BR)
        mask = (row < R)[:, None] & cm[None, :]
        at = row[:, None] * C + oc[None, :]
        s1 = tl.load(sums + at, mask=mask, other=0.0)
        s2 = tl.load(centred + at, mask=mask, other=0.0)
        if g is not None:
            gate = tl.load(g + (row // rows_a_gate)[:, None] * C + oc[None, :], mask=mask, other=0.0)
            s1 *= gate
            s2 *= gate
        if du is not None:
            d = tl.load(du + at, mask=mask, other=0.0)
            s1 += d
            s2 += d * tl.load(means + at, mask=mask, other=0.0)
        sum1 += s1
        sum2 += s2
    r = tl.load(scale + oc, mask=cm, other=1.0).to(tl.float32)
    if RUNNING:
        r = 1.0 / tl.sqrt(r + eps)
    tl.store(beta + oc, tl.sum(sum1, axis=0), mask=cm)
    tl.store(gamma + oc, tl.sum(sum2, axis=0) * r, mask=cm)


@triton.jit(do_not_specialize=['R', 'rows_a_gate', 'R2', 'rows_a_gate2'])
def affine_gradients(
    sums, centred, g, du, means, beta, gamma, scale, R, rows_a_gate, eps,
    sums2, centred2, g2, du2, means2, beta2, gamma2, scale2, R2, rows_a_gate2, eps2,
    C, BR: tl.constexpr, BC: tl.constexpr, RUNNING: tl.constexpr, RUNNING2: tl.constexpr,
):  # fmt: skip
    """``dbeta = sum of g S1 + du`` and ``dgamma = sum of g S2 + du mean``, over 1 / deviation, of all rows.

    ``rows_a_gate`` rows share a row of g; du and the means have one value for each row.
    """
    if tl.program_id(1) == 0:
        _affine_gradients(
            sums, centred, g, du, means, beta, gamma, scale, R, rows_a_gate, eps, C, BR, BC, RUNNING
        )  # fmt: skip
    elif sums2 is not None:
        _affine_gradients(
            sums2, centred2, g2, du2, means2, beta2, gamma2, scale2, R2, rows_a_gate2, eps2,
            C, BR, BC, RUNNING2,
        )  # fmt: skip
