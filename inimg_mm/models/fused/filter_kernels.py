"""The Triton kernels of an inner-imaging gate's filters, each of one program: see :mod:`.imaging`.

A bank has M filters of FH x FW values, which lie DOWN and RIGHT of the first of the K values of a patch, KW
in a row; KP is a power of two, K or more. There are BANKS of them; the arguments of the second and the third
end in 2 and 3, and are None where there is none. What is computed from patches is in float64.
"""

import triton
import triton.language as tl


@triton.jit
def _filters(
    w, j, M, K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr,
    FH: tl.constexpr, FW: tl.constexpr, DOWN: tl.constexpr, RIGHT: tl.constexpr,
):  # fmt: skip
    """Some filters of a bank, and where they lie in memory: FH x FW values, DOWN and RIGHT in the window."""
    t = tl.arange(0, KP)
    a = t // KW - DOWN
    b = t % KW - RIGHT
    inside = (t < K) & (a >= 0) & (a < FH) & (b >= 0) & (b < FW)
    mask = (j < M)[:, None] & inside[None, :]
    at = j[:, None] * (FH * FW) + (a * FW + b)[None, :]
    return tl.load(w + at, mask=mask, other=0.0).to(tl.float64), at, mask


@triton.jit
def _variances(filters, covariance):
    """``w' Cov w`` of each filter, and ``Cov w``."""
    spread = tl.sum(filters[:, :, None] * covariance[None, :, :], axis=1)
    var = tl.sum(spread * filters, axis=1)
    return var, spread


@triton.jit
def _bank_filter(
    w, weight, bias, running_mean, running_var, batches, momentum, eps, mean, covariance, count, M,
    K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr,
    FH: tl.constexpr, FW: tl.constexpr, DOWN: tl.constexpr, RIGHT: tl.constexpr,
    BM: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    """The sums of a bank's filters over their deviations and of what it adds; running statistics follow."""
    total = tl.zeros([BM, KP], dtype=tl.float64)
    added = tl.zeros([BM], dtype=tl.float64)
    for j0 in range(0, M, BM):
        j = j0 + tl.arange(0, BM)
        jm = j < M
        filters, at, mask = _filters(w, j, M, K, KP, KW, FH, FW, DOWN, RIGHT)
        gamma = tl.load(weight + j, mask=jm, other=0.0).to(tl.float64)
        added += tl.load(bias + j, mask=jm, other=0.0).to(tl.float64)
        if RUNNING:
            var = tl.load(running_var + j, mask=jm, other=1.0).to(tl.float64)
            scale = gamma / tl.sqrt(var + eps)
            added -= scale * tl.load(running_mean + j, mask=jm, other=0.0).to(tl.float64)
        else:
            var, spread = _variances(filters, covariance)
            var = tl.where(var < 0.0, 0.0, var)
            scale = gamma / tl.sqrt(var + eps)
            if running_mean is not None:
                mu = tl.sum(filters * mean[None, :], axis=1)
                old = tl.load(running_mean + j, mask=jm, other=0.0)
                tl.store(running_mean + j, old + momentum * (mu.to(tl.float32) - old), mask=jm)
                old = tl.load(running_var + j, mask=jm, other=0.0)
                new = (var * (count / (count - 1.0))).to(tl.float32)
                tl.store(running_var + j, old + momentum * (new - old), mask=jm)
        total += scale[:, None] * filters
    if batches is not None:
        tl.store(batches, tl.load(batches) + 1)
    return tl.sum(total, axis=0), tl.sum(added, axis=0)


@triton.jit(do_not_specialize=['R', 'S', 'L', 'chunk'])
def effective_filter(
    means, squares, mean, covariance, effective, constant,
    w, weight, bias, running_mean, running_var, batches, momentum,
    w2, weight2, bias2, running_mean2, running_var2, batches2, momentum2,
    w3, weight3, bias3, running_mean3, running_var3, batches3, momentum3,
    R, S, L, chunk, count, eps, M,
    K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr,
    FH: tl.constexpr, FW: tl.constexpr, DOWN: tl.constexpr, RIGHT: tl.constexpr,
    FH2: tl.constexpr, FW2: tl.constexpr, DOWN2: tl.constexpr, RIGHT2: tl.constexpr,
    FH3: tl.constexpr, FW3: tl.constexpr, DOWN3: tl.constexpr, RIGHT3: tl.constexpr,
    BANKS: tl.constexpr, BR: tl.constexpr, BM: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    """The patches' mean and covariance from those of the R chunks, and the filter that stands for the banks.

    With running statistics the mean is zero, and ``constant`` makes up for it.
    """
    t = tl.arange(0, KP)
    km = t < K
    square = km[:, None] & km[None, :]
    within = t[:, None] * K + t[None, :]
    mu = tl.zeros([KP], dtype=tl.float64)
    cov = tl.zeros([KP, KP], dtype=tl.float64)
    if not RUNNING:
        total = tl.zeros([BR, KP], dtype=tl.float64)
        for r0 in range(0, R, BR):
            row = r0 + tl.arange(0, BR)
            mask = (row < R)[:, None] & km[None, :]
            size = tl.minimum(chunk, L - (row % S) * chunk)[:, None]
            total += size * tl.load(means + row[:, None] * K + t[None, :], mask=mask, other=0.0)
        mu = tl.sum(total, axis=0) / count
        about = tl.zeros([BR, KP, KP], dtype=tl.float64)
        for r0 in range(0, R, BR):
            row = r0 + tl.arange(0, BR)
            mask = (row < R)[:, None] & km[None, :]
            size = tl.minimum(chunk, L - (row % S) * chunk)[:, None]
            d = tl.load(means + row[:, None] * K + t[None, :], mask=mask, other=0.0) - mu[None, :]
            d = tl.where(mask, d, 0.0)
            all_rows = (row < R)[:, None, None] & square[None, :, :]
            at = row[:, None, None] * (K * K) + within[None, :, :]
            about += tl.load(squares + at, mask=all_rows, other=0.0) + (size * d)[:, :, None] * d[:, None, :]
        cov = tl.sum(about, axis=0) / count
        tl.store(covariance + within, cov, mask=square)
    tl.store(mean + t, mu, mask=km)
    e, added = _bank_filter(
        w, weight, bias, running_mean, running_var, batches, momentum, eps, mu, cov, count, M,
        K, KP, KW, FH, FW, DOWN, RIGHT, BM, RUNNING,
    )  # fmt: skip
    if w2 is not None:
        e2, added2 = _bank_filter(
            w2, weight2, bias2, running_mean2, running_var2, batches2, momentum2, eps, mu, cov, count, M,
            K, KP, KW, FH2, FW2, DOWN2, RIGHT2, BM, RUNNING,
        )  # fmt: skip
        e += e2
        added += added2
    if w3 is not None:
        e3, added3 = _bank_filter(
            w3, weight3, bias3, running_mean3, running_var3, batches3, momentum3, eps, mu, cov, count, M,
            K, KP, KW, FH3, FW3, DOWN3, RIGHT3, BM, RUNNING,
        )  # fmt: skip
        e += e3
        added += added3
    tl.store(effective + t, e / (BANKS * M), mask=km)
    tl.store(constant, added / (BANKS * M))


@triton.jit
def _bank_gradients(
    w, weight, running_mean, running_var, dw, dweight, dbias, de, total, covariance, eps, M,
    K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr,
    FH: tl.constexpr, FW: tl.constexpr, DOWN: tl.constexpr, RIGHT: tl.constexpr,
    BANKS: tl.constexpr, BM: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    """The gradients of a bank's parameters; returns its part of the covariance's, (KP, KP)."""
    matrix = tl.zeros([KP, KP], dtype=tl.float64)
    for j0 in range(0, M, BM):
        j = j0 + tl.arange(0, BM)
        jm = j < M
        filters, at, mask = _filters(w, j, M, K, KP, KW, FH, FW, DOWN, RIGHT)
        gamma = tl.load(weight + j, mask=jm, other=0.0).to(tl.float64) / (BANKS * M)
        products = tl.sum(filters * de[None, :], axis=1)
        if RUNNING:
            r = 1.0 / tl.sqrt(tl.load(running_var + j, mask=jm, other=1.0).to(tl.float64) + eps)
            products -= tl.load(running_mean + j, mask=jm, other=0.0).to(tl.float64) * total
            of_filters = (gamma * r)[:, None] * de[None, :]
        else:
            var, spread = _variances(filters, covariance)
            r = 1.0 / tl.sqrt(tl.where(var < 0.0, 0.0, var) + eps)
            dvar = tl.where(var < 0.0, 0.0, -0.5 * r * r * r * gamma * products)
            of_filters = (gamma * r)[:, None] * de[None, :] + 2.0 * dvar[:, None] * spread
            scaled = dvar[:, None] * filters
            matrix += tl.sum(scaled[:, :, None] * filters[:, None, :], axis=0)
        tl.store(dw + at, of_filters.to(tl.float32), mask=mask)
        tl.store(dweight + j, (products * r / (BANKS * M)).to(tl.float32), mask=jm)
        tl.store(dbias + j, tl.zeros([BM], dtype=tl.float32) + (total / (BANKS * M)).to(tl.float32), mask=jm)
    return matrix


@triton.jit(do_not_specialize=['R'])
def filter_gradients(
    sums, covariance, matrix, shift,
    w, weight, running_mean, running_var, dw, dweight, dbias,
    w2, weight2, running_mean2, running_var2, dw2, dweight2, dbias2,
    w3, weight3, running_mean3, running_var3, dw3, dweight3, dbias3,
    R, count, eps, M,
    K: tl.constexpr, KP: tl.constexpr, KW: tl.constexpr,
    FH: tl.constexpr, FW: tl.constexpr, DOWN: tl.constexpr, RIGHT: tl.constexpr,
    FH2: tl.constexpr, FW2: tl.constexpr, DOWN2: tl.constexpr, RIGHT2: tl.constexpr,
    FH3: tl.constexpr, FW3: tl.constexpr, DOWN3: tl.constexpr, RIGHT3: tl.constexpr,
    BANKS: tl.constexpr, BR: tl.constexpr, BM: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    """The gradients of the banks' parameters, and what :func:`.image_gradients` needs of the moments'."""
    t = tl.arange(0, KP)
    km = t < K
    square = km[:, None] & km[None, :]
    within = t[:, None] * K + t[None, :]
    products = tl.zeros([BR, KP], dtype=tl.float64)
    totals = tl.zeros([BR], dtype=tl.float64)
    for r0 in range(0, R, BR):
        row = r0 + tl.arange(0, BR)
        at = row[:, None] * (K + 1) + t[None, :]
        products += tl.load(sums + at, mask=(row < R)[:, None] & km[None, :], other=0.0)
        totals += tl.load(sums + row * (K + 1) + K, mask=row < R, other=0.0)
    de = tl.sum(products, axis=0)
    total = tl.sum(totals, axis=0)
    cov = tl.zeros([KP, KP], dtype=tl.float64)
    if not RUNNING:
        cov = tl.load(covariance + within, mask=square, other=0.0)
    dcov = _bank_gradients(
        w, weight, running_mean, running_var, dw, dweight, dbias, de, total, cov, eps, M,
        K, KP, KW, FH, FW, DOWN, RIGHT, BANKS, BM, RUNNING,
    )  # fmt: skip
    if w2 is not None:
        dcov += _bank_gradients(
            w2, weight2, running_mean2, running_var2, dw2, dweight2, dbias2, de, total, cov, eps, M,
            K, KP, KW, FH2, FW2, DOWN2, RIGHT2, BANKS, BM, RUNNING,
        )  # fmt: skip
    if w3 is not None:
        dcov += _bank_gradients(
            w3, weight3, running_mean3, running_var3, dw3, dweight3, dbias3, de, total, cov, eps, M,
            K, KP, KW, FH3, FW3, DOWN3, RIGHT3, BANKS, BM, RUNNING,
        )  # fmt: skip
    if not RUNNING:
        tl.store(matrix + within, dcov * 2.0 / count, mask=square)
        tl.store(shift, total / count)
