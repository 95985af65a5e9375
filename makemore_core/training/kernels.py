"""The element-wise half of a training step on the CPU, compiled by numba.

Matrix products stay with torch; these kernels are what lies between them: gathering rows of the
folded table, tanh, softmax, scattering gradients back, and the update. `torch_step.py` is the same
in plain torch. Every kernel is compiled once and cached on disk; see `warm_up.py`. They share one
file on purpose: the cache notices a change of a kernel's own file, not of the file of one it calls.

Shapes: U rows (unique contexts) in a batch, T positions in a context, V symbols, P output columns
(V rounded up, see `parameter_layout.py`), H hidden units (rounded up; biases and dropout know the
true ones alone), W = H columns of the first layer, or H + P with direct connections, whose columns
follow the hidden ones.
"""

# mypy: allow-untyped-defs
# (numba infers the types of its kernels; long lists of arguments read better filled)
# fmt: off

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from makemore_core.training.kernel_cache import KernelCache

FASTMATH = {"contract", "reassoc", "nsz", "arcp"}
"""The compiler's assumptions. `nnan` and `ninf` are missing: NaN and infinity are detected."""


TILE_ROWS = 16
"""Rows that are taken from the gather to the loss together, so that they stay in the L1 cache."""


def kernel(function: Callable[..., Any]) -> Any:
    """A function compiled at its first call and cached on disk, if a directory can be written.

    Kernels that call each other are inlined by force: otherwise the process that compiles them and
    those that load them may call differently compiled copies, and train to different bits.
    """
    options: dict[str, Any] = {
        "fastmath": FASTMATH, "error_model": "numpy", "nogil": True, "forceinline": True,
    }  # fmt: skip
    compiled: Any = numba.njit(**options)(function)
    compiled._cache = KernelCache(function)
    return compiled


@intrinsic
def _bits_as_float(context: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


_as_float: Any = _bits_as_float  # called from kernels, where the context is not given


@kernel
def tanh(x):
    """Hyperbolic tangent of a float32 to about 3 ulp: a rational function (as in Eigen).

    Branch-free, so that loops over it become vector code. NaN stays NaN.
    """
    f = np.float32
    x = f(7.90531110763549805) if x > f(7.90531110763549805) else x
    x = f(-7.90531110763549805) if x < f(-7.90531110763549805) else x
    s = x * x
    p = f(-2.76076847742355e-16) * s + f(2.00018790482477e-13)
    p = p * s + f(-8.60467152213735e-11)
    p = p * s + f(5.12229709037114e-08)
    p = p * s + f(1.48572235717979e-05)
    p = p * s + f(6.37261928875436e-04)
    p = p * s + f(4.89352455891786e-03)
    q = f(1.19825839466702e-06) * s + f(1.18534705686654e-04)
    q = q * s + f(2.26843463243900e-03)
    q = q * s + f(4.89352518554385e-03)
    return x * p / q


@kernel
def exp(x):
    """The exponential of a float32 that is at most 0, to about 2 ulp; below -87 it is exp(-87)."""
    f = np.float32
    x = f(-87.0) if x < f(-87.0) else x
    n = np.int32(x * f(1.44269504088896341) - f(0.5))  # towards zero: the nearest below
    k = f(n)
    r = x - k * f(0.693359375) + k * f(2.12194440e-4)
    p = f(1.9875691500e-4) * r + f(1.3981999507e-3)
    p = p * r + f(8.3334519073e-3)
    p = p * r + f(4.1665795894e-2)
    p = p * r + f(1.6666665459e-1)
    p = p * r + f(5.0000001201e-1)
    return (p * r * r + r + f(1.0)) * _as_float((n + np.int32(127)) << np.int32(23))


@kernel
def _keep(row_key, column_key, threshold):
    """Whether a hidden unit is kept: a hash of its row's and column's keys against a threshold."""
    x = row_key ^ column_key
    x = np.uint32(x * np.uint32(0x9E3779B1))
    x = x ^ (x >> np.uint32(15))
    x = np.uint32(x * np.uint32(0x85EBCA77))
    return (x >> np.uint32(1)) >= threshold


@kernel
def _activate(out, hidden, row_key, column_keys, threshold, scale):
    """tanh, then dropout: a unit that is dropped becomes exactly 0, one that is kept never is."""
    if threshold == 0:
        for j in range(hidden):
            out[j] = tanh(out[j])
    else:
        for j in range(hidden):
            value = tanh(out[j]) * scale + np.float32(1e-30)
            keep = _keep(row_key, column_keys[j], threshold)
            out[j] = value if keep else np.float32(0.0)


@kernel
def _deactivate(h, d, hidden, scale):
    """Takes a row of gradients back through dropout and tanh, in place."""
    if scale == 1:
        for j in range(hidden):
            d[j] *= np.float32(1.0) - h[j] * h[j]
    else:
        inverse = np.float32(1.0) / scale
        for j in range(hidden):
            d[j] *= np.float32(0.0) if h[j] == 0 else scale - h[j] * h[j] * inverse


@kernel
def _pad_sums(table, bias, prefix):
    """prefix[k] = the bias and what k leading boundaries add. table (T, V, W), prefix (T + 1, W)"""
    positions, _, width = table.shape
    for j in range(width):
        prefix[0, j] = bias[j] if j < bias.size else np.float32(0.0)
    for position in range(positions):
        before, after, pad = prefix[position], prefix[position + 1], table[position, 0]
        for j in range(width):
            after[j] = before[j] + pad[j]


@kernel
def _gather(
    contexts, padding, rows, table, prefix, hidden, row_keys, column_keys, threshold, scale, first
):
    """Sums each context's rows of the table, then tanh and dropout."""
    positions, _, width = table.shape
    for u in range(rows.size):
        context, position = rows[u], padding[rows[u]]
        out, start = first[u], prefix[position]
        if (positions - position) % 2:
            one = table[position, contexts[context, position]]
            for j in range(width):
                out[j] = start[j] + one[j]
            position += 1
        else:
            for j in range(width):
                out[j] = start[j]
        while position < positions:
            one = table[position, contexts[context, position]]
            two = table[position + 1, contexts[context, position + 1]]
            for j in range(width):
                out[j] += one[j] + two[j]
            position += 2
        _activate(out, hidden, row_keys[u], column_keys, threshold, scale)


@kernel
def features(contexts, rows, embedding, out):
    """Plain: the feature vectors of each context, one after the other. out: (U, T * E)"""
    size = embedding.shape[1]
    for u in range(rows.size):
        context = rows[u]
        for position in range(contexts.shape[1]):
            vector = embedding[contexts[context, position]]
            for j in range(size):
                out[u, position * size + j] = vector[j]


@kernel
def deactivate(rows, scale, first, back, bias_gradient):
    """Plain: gradients back through dropout and tanh, in place, and the bias's gradient."""
    hidden = bias_gradient.size
    for j in range(hidden):
        bias_gradient[j] = 0.0
    for u in range(rows.size):
        d = back[u]
        _deactivate(first[u], d, hidden, scale)
        for j in range(hidden):
            bias_gradient[j] += d[j]


@kernel
def spread(contexts, rows, feature_gradient, embedding_gradient):
    """Plain: adds each feature's gradient to its character's. feature_gradient: (U, T * E)"""
    symbols, size = embedding_gradient.shape
    for v in range(symbols):
        for j in range(size):
            embedding_gradient[v, j] = 0.0
    for u in range(rows.size):
        context = rows[u]
        for position in range(contexts.shape[1]):
            out = embedding_gradient[contexts[context, position]]
            for j in range(size):
                out[j] += feature_gradient[u, position * size + j]


@kernel
def _fours(count):
    """A count up to a multiple of four."""
    return (count + 3) // 4 * 4


@kernel
def _products(x, y, z, w, matrix, out, add):
    """out (4, count) = the products of four rows with each row of a matrix, or += them.

    Four rows by four at a time: sixteen running sums stay in registers, and no torch call is needed
    (340 x 512 by 28: 101 us, torch.mm 137). Missing rows of the last four are the last row again.
    """
    count, last = out.shape[1], matrix.shape[0] - 1
    for v in range(0, count, 4):
        a, b = matrix[min(v, last)], matrix[min(v + 1, last)]
        c, d = matrix[min(v + 2, last)], matrix[min(v + 3, last)]
        s = np.float32(0.0)
        xa = xb = xc = xd = ya = yb = yc = yd = za = zb = zc = zd = wa = wb = wc = wd = s
        for j in range(matrix.shape[1]):
            xa += x[j] * a[j]
            xb += x[j] * b[j]
            xc += x[j] * c[j]
            xd += x[j] * d[j]
            ya += y[j] * a[j]
            yb += y[j] * b[j]
            yc += y[j] * c[j]
            yd += y[j] * d[j]
            za += z[j] * a[j]
            zb += z[j] * b[j]
            zc += z[j] * c[j]
            zd += z[j] * d[j]
            wa += w[j] * a[j]
            wb += w[j] * b[j]
            wc += w[j] * c[j]
            wd += w[j] * d[j]
        if not add:
            for i in range(4):
                for k in range(4):
                    out[i, v + k] = 0.0
        out[0, v] += xa
        out[0, v + 1] += xb
        out[0, v + 2] += xc
        out[0, v + 3] += xd
        out[1, v] += ya
        out[1, v + 1] += yb
        out[1, v + 2] += yc
        out[1, v + 3] += yd
        out[2, v] += za
        out[2, v + 1] += zb
        out[2, v + 2] += zc
        out[2, v + 3] += zd
        out[3, v] += wa
        out[3, v + 1] += wb
        out[3, v + 2] += wc
        out[3, v + 3] += wd


@kernel
def _put_logits(start, first, weights, bias, direct, back, column, sums):
    """The logits of four rows from `start` on (the last again where there are fewer).

    first (U, H + P); weights (P, H); bias (V,); sums (4, V up to a multiple of 4). The logits are
    the columns of `back` from `column` on; those beyond V become -1e30.
    """
    hidden, symbols, last = weights.shape[1], bias.size, first.shape[0] - 1
    r1, r2, r3 = min(start + 1, last), min(start + 2, last), min(start + 3, last)
    _products(first[start], first[r1], first[r2], first[r3], weights, sums, False)
    for r in range(start, r3 + 1):
        out, extra, found = back[r, column:], first[r, hidden:], sums[r - start]
        for v in range(symbols):
            out[v] = found[v] + bias[v]
        if direct:
            for v in range(symbols):
                out[v] += extra[v]
        for v in range(symbols, out.size):
            out[v] = np.float32(-1e30)


@kernel
def _output_layer(
    weight, pair_start, pair_end, next_character, pair_weight, weighted, weights, bias, direct,
    first, back, bias_gradient, sums
):
    """Logits, softmax and cross-entropy. The logits' gradients replace them; returns the loss."""
    symbols, hidden, total = bias.size, weights.shape[1], 0.0
    for u in range(weight.size):
        if u % 4 == 0:
            _put_logits(u, first, weights, bias, direct, back, hidden, sums)
        z, w = back[u, hidden:], weight[u]
        high = z[0]
        for v in range(z.size):
            high = max(high, z[v])
        scale = w if weighted else np.float32(1.0)
        for p in range(pair_start[u], pair_end[u]):
            total -= scale * pair_weight[p] * (z[next_character[p]] - high)
        s = np.float32(0.0)
        for v in range(z.size):
            e = exp(z[v] - high)
            z[v] = e
            s += e
        total += w * math.log(s)
        factor = w / s
        for v in range(z.size):
            z[v] *= factor
        for v in range(symbols, z.size):
            z[v] = 0.0
        for p in range(pair_start[u], pair_end[u]):
            z[next_character[p]] -= scale * pair_weight[p]
        for v in range(symbols):
            bias_gradient[v] += z[v]
    return total


@kernel
def forward_folded(
    contexts, padding, rows, row_keys, table, prefix, first_bias, column_keys, threshold, scale,
    weight, pair_start, pair_end, next_character, pair_weight, weighted, weights, bias, direct,
    first, back, bias_gradient, loss
):
    """From the folded table to the gradients of the logits, a few rows at a time.

    Args:
        contexts: (all, T) characters; padding: (all,) how many of them are leading boundaries.
        rows: (U,) the contexts of this batch; row_keys: (U,) of its dropout.
        table: (T, V, W); prefix: (T + 1, W) scratch; first_bias: (H,).
        column_keys: (H,) of the dropout; threshold: 0 for none; scale: 1 / kept.
        weight: (U,) of the rows; a row's pairs are next_character[pair_start:pair_end] with
            pair_weight, to be multiplied by the row's weight if `weighted`.
        weights: (P, H) of the output; bias, bias_gradient: (V,).
        direct: whether there are direct connections.
        first: (U, H + P) gets the hidden units, and after them the direct connections' logits.
        back: (U, H + P) gets the gradients of the logits in its last columns.
        loss: (1,) float64, added to.
    """
    sums = np.empty((4, _fours(bias.size)), np.float32)
    _pad_sums(table, first_bias, prefix)
    for v in range(bias_gradient.size):
        bias_gradient[v] = 0.0
    for a in range(0, rows.size, TILE_ROWS):
        b = min(a + TILE_ROWS, rows.size)
        _gather(
            contexts, padding, rows[a:b], table, prefix, first_bias.size, row_keys[a:b],
            column_keys, threshold, scale, first[a:b]
        )
        loss[0] += _output_layer(
            weight[a:b], pair_start[a:b], pair_end[a:b], next_character, pair_weight, weighted,
            weights, bias, direct, first[a:b], back[a:b], bias_gradient, sums
        )


@kernel
def forward_plain(
    row_keys, first_bias, column_keys, threshold, scale, weight, pair_start, pair_end,
    next_character, pair_weight, weighted, weights, bias, direct, first, back, bias_gradient, loss
):
    """From the first layer's sums, in `first`, to the gradients of the logits: see above."""
    sums = np.empty((4, _fours(bias.size)), np.float32)
    for v in range(bias_gradient.size):
        bias_gradient[v] = 0.0
    for u in range(row_keys.size):
        out = first[u]
        for j in range(first_bias.size):
            out[j] += first_bias[j]
        _activate(out, first_bias.size, row_keys[u], column_keys, threshold, scale)
    loss[0] += _output_layer(
        weight, pair_start, pair_end, next_character, pair_weight, weighted, weights, bias, direct,
        first, back, bias_gradient, sums
    )


@kernel
def cross_entropy(
    contexts, padding, offsets, next_character, table, prefix, first_bias, weights, bias, direct,
    nats
):
    """Negative log-likelihood of every pair of a split, into `nats` (P,); arguments as above."""
    hidden = first_bias.size
    first = np.empty((TILE_ROWS, hidden + weights.shape[0]), np.float32)
    logits = np.empty((TILE_ROWS, weights.shape[0]), np.float32)
    sums = np.empty((4, _fours(bias.size)), np.float32)
    no_keys = np.zeros(TILE_ROWS, np.uint32)
    _pad_sums(table, first_bias, prefix)
    for a in range(0, padding.size, TILE_ROWS):
        count = min(TILE_ROWS, padding.size - a)
        rows = np.arange(a, a + count).astype(np.int32)
        _gather(
            contexts, padding, rows, table, prefix, hidden, no_keys, no_keys, np.uint32(0),
            np.float32(1.0), first
        )
        for u in range(count):
            if u % 4 == 0:
                _put_logits(u, first[:count], weights, bias, direct, logits, 0, sums)
            z = logits[u]
            high = z[0]
            for v in range(z.size):
                high = max(high, z[v])
            for p in range(offsets[a + u], offsets[a + u + 1]):
                nats[p] = high - z[next_character[p]]
            s = np.float32(0.0)
            for v in range(z.size):
                s += exp(z[v] - high)
            log_sum = math.log(s)
            for p in range(offsets[a + u], offsets[a + u + 1]):
                nats[p] += log_sum


@kernel
def embedding_gradient_of(table_gradient, weights, embedding_gradient):
    """Folded: dC = sum_j dT_j W1_j^T. table_gradient (T, V, W), weights (T, E, W), dC (V, E)."""
    symbols, size = embedding_gradient.shape
    sums = np.empty((4, _fours(size)), np.float32)
    last = symbols - 1
    for v in range(0, symbols, 4):
        for position in range(weights.shape[0]):
            d = table_gradient[position]
            _products(
                d[v], d[min(v + 1, last)], d[min(v + 2, last)], d[min(v + 3, last)],
                weights[position], sums, position > 0
            )
        for i in range(min(4, symbols - v)):
            for e in range(size):
                embedding_gradient[v + i, e] = sums[i, e]


@kernel
def _sum_rows(out, back, listed, start, end):
    """out = the sum of the listed rows, four at a time; only reads travel far."""
    width = out.size
    at = start
    head = (end - start) % 4
    if head == 0:
        for j in range(width):
            out[j] = 0.0
    elif head == 1:
        a = back[listed[at]]
        for j in range(width):
            out[j] = a[j]
    elif head == 2:
        a, b = back[listed[at]], back[listed[at + 1]]
        for j in range(width):
            out[j] = a[j] + b[j]
    else:
        a, b, c = back[listed[at]], back[listed[at + 1]], back[listed[at + 2]]
        for j in range(width):
            out[j] = a[j] + b[j] + c[j]
    at += head
    while at < end:
        a, b = back[listed[at]], back[listed[at + 1]]
        c, d = back[listed[at + 2]], back[listed[at + 3]]
        for j in range(width):
            out[j] += (a[j] + b[j]) + (c[j] + d[j])
        at += 4


@kernel
def _list_rows(contexts, padding, rows, symbols, starts, listed):
    """Lists the batch's rows by position and character, then by padding (a counting sort).

    Afterwards starts[k] is where the list of key k ends: position * V + character for real
    characters, T * V + boundaries for paddings.
    """
    positions = contexts.shape[1]
    keys = positions * symbols
    for k in range(starts.size):
        starts[k] = 0
    for u in range(rows.size):
        pads = padding[rows[u]]
        starts[keys + pads + 1] += 1
        for position in range(pads, positions):
            starts[position * symbols + contexts[rows[u], position] + 1] += 1
    for k in range(1, starts.size):
        starts[k] += starts[k - 1]
    for u in range(rows.size):
        pads = padding[rows[u]]
        listed[starts[keys + pads]] = u
        starts[keys + pads] += 1
        for position in range(pads, positions):
            k = position * symbols + contexts[rows[u], position]
            listed[starts[k]] = u
            starts[k] += 1


@kernel
def scatter(
    contexts, padding, rows, scale, first, back, table_gradient, bias_gradient, prefix, starts,
    listed
):
    """Folded: gradients through dropout and tanh, then summed into the rows of the table.

    A boundary at some position is part of every longer padding: its gradient is a suffix sum.

    Args:
        table_gradient: (T, V, W); bias_gradient: (H,); prefix: (T + 1, W) scratch.
        starts: (T * V + T + 2,) and listed: (U * (T + 1),) scratch.
    """
    positions, symbols, width = table_gradient.shape
    hidden = bias_gradient.size
    for u in range(rows.size):
        _deactivate(first[u], back[u], hidden, scale)
    _list_rows(contexts, padding, rows, symbols, starts, listed)
    start = 0
    for position in range(positions):
        for v in range(symbols):
            end = starts[position * symbols + v]
            _sum_rows(table_gradient[position, v], back, listed, start, end)
            start = end
    for pads in range(positions + 1):
        end = starts[positions * symbols + pads]
        _sum_rows(prefix[pads], back, listed, start, end)
        start = end
    for position in range(positions - 1, -1, -1):
        here, above, out = prefix[position], prefix[position + 1], table_gradient[position, 0]
        for j in range(width):
            out[j] = above[j]
            here[j] += above[j]
    for j in range(hidden):
        bias_gradient[j] = prefix[0, j]


@kernel
def update_sgd(parameters, gradient, ends, decays, rate):
    """One step of plain SGD; the numbers up to `ends[k]` shrink by rate * `decays[k]`."""
    r = np.float32(rate)
    begin = 0
    for part in range(ends.size):
        end = ends[part]
        keep = np.float32(1.0 - rate * decays[part])
        p, g = parameters[begin:end], gradient[begin:end]
        for i in range(p.size):
            p[i] = p[i] * keep - r * g[i]
        begin = end


@kernel
def update_adamw(
    parameters, gradient, first, second, ends, decays, rate, number, beta1, beta2, epsilon
):
    """Step `number` (from 1) of AdamW; the numbers up to `ends[k]` shrink by rate * `decays[k]`."""
    a, b = np.float32(1.0 - beta1), np.float32(1.0 - beta2)
    r = np.float32(rate / (1.0 - beta1**number))
    correct = np.float32(1.0 / math.sqrt(1.0 - beta2**number))
    e = np.float32(epsilon)
    begin = 0
    for part in range(ends.size):
        end = ends[part]
        keep = np.float32(1.0 - rate * decays[part])
        p, g, m, v = parameters[begin:end], gradient[begin:end], first[begin:end], second[begin:end]
        for i in range(p.size):
            m[i] += a * (g[i] - m[i])
            v[i] += b * (g[i] * g[i] - v[i])
            p[i] = p[i] * keep - r * m[i] / (math.sqrt(v[i]) * correct + e)
        begin = end
