"""The kernels that draw batches; see `batches.py`."""

# mypy: allow-untyped-defs
# (numba infers the types of its kernels; long lists of arguments read better filled)
# fmt: off

import math

import numpy as np

from makemore_core.training.kernels import kernel


@kernel
def _mix(key, counter):
    """64 random bits for each key and counter (the finalizer of SplitMix64; Steele et al. 2014)."""
    z = key + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def _uniform(key, counter):
    """A uniform number in (0, 1)."""
    return (np.float64(_mix(key, counter) >> np.uint64(12)) + 0.5) * 2.0**-52


@kernel
def _find(cumulative, guide, position):
    """The item of a cumulative measure that holds a position in (0, 1)."""
    item = guide[int(position * guide.size)]
    while item < guide.size - 1 and cumulative[item + 1] <= position:
        item += 1
    return item


@kernel
def draw_expected(
    key, mask_key, first_step, certain, certain_weight, uncertain, uncertain_weight, cumulative,
    guide, offsets, rows, weight, pair_start, pair_end, row_keys
):
    """Fills a block of steps: the certain contexts, then one of each stratum of the others."""
    fixed, strata = certain.size, rows.shape[1] - certain.size
    for s in range(rows.shape[0]):
        base = (first_step + np.uint64(s)) << np.uint64(21)
        for u in range(rows.shape[1]):
            if u < fixed:
                rows[s, u], weight[s, u] = certain[u], certain_weight[u]
            else:
                position = (u - fixed + _uniform(key, base + np.uint64(u))) / strata
                item = _find(cumulative, guide, position)
                rows[s, u], weight[s, u] = uncertain[item], uncertain_weight[item]
            pair_start[s, u] = offsets[rows[s, u]]
            pair_end[s, u] = offsets[rows[s, u] + 1]
            row_keys[s, u] = np.uint32(_mix(mask_key, base + np.uint64(u)) >> np.uint64(32))


@kernel
def draw_sampled(
    key, mask_key, first_step, cumulative, guide, row_of_pair, next_of_pair, next_character,
    pair_weight, used, rows, weight, pair_start, pair_end, row_keys
):
    """Fills a block of steps: pairs drawn with replacement, merged by context.

    Sorted uniform numbers come from exponential spacings (Devroye 1986, chapter V), so equal
    contexts are neighbours.
    """
    steps, size = rows.shape[0], next_character.size // rows.shape[0]
    unit = np.float32(1.0 / size)
    reached = np.empty(size + 1)
    for s in range(steps):
        base = (first_step + np.uint64(s)) << np.uint64(21)
        total = 0.0
        for i in range(size + 1):
            total -= math.log(_uniform(key, base + np.uint64(i)))
            reached[i] = total
        u, entry, before = -1, s * size - 1, -1
        for i in range(size):
            pair = _find(cumulative, guide, reached[i] / total)
            row = row_of_pair[pair]
            if u < 0 or row != rows[s, u]:
                u += 1
                rows[s, u], weight[s, u] = row, 0.0
                pair_start[s, u] = entry + 1
                row_keys[s, u] = np.uint32(_mix(mask_key, base + np.uint64(u)) >> np.uint64(32))
            if pair != before:
                entry += 1
                next_character[entry], pair_weight[entry] = next_of_pair[pair], 0.0
                before = pair
            pair_end[s, u] = entry + 1
            weight[s, u] += unit
            pair_weight[entry] += unit
        used[s] = u + 1


@kernel
def fill_smooth_targets(
    rows, smoothing, offsets, next_of_pair, count, longest, shorter, start, next_character,
    discounted, backoff_weight, targets
):
    """Writes out the target of each row: its counts, interpolated with an n-gram's distribution.

    Args:
        rows: (U,) contexts; offsets, next_of_pair, count: of all contexts, see `data/contexts.py`.
        longest, ..., backoff_weight: the n-gram, see `data.ngram.ContextTree`.
        targets: (U * V,) the result; each row's sum to one.
    """
    symbols = targets.size // rows.size
    for u in range(rows.size):
        out = targets[u * symbols:(u + 1) * symbols]
        out[:] = np.float32(0.0)
        factor, node = np.float32(smoothing), longest[rows[u]]
        while node >= 0:
            for p in range(start[node], start[node + 1]):
                out[next_character[p]] += factor * discounted[p]
            factor *= backoff_weight[node]
            node = shorter[node]
        factor /= np.float32(symbols)
        for v in range(symbols):
            out[v] += factor
        first, last = offsets[rows[u]], offsets[rows[u] + 1]
        frequency = 0.0
        for p in range(first, last):
            frequency += count[p]
        factor = np.float32((1.0 - smoothing) / frequency)
        for p in range(first, last):
            out[next_of_pair[p]] += factor * np.float32(count[p])


@kernel
def _draw_counted(position, offsets, next_of_pair, count, row):
    """The character that follows a context, by its counts, at a position in (0, 1)."""
    first, last = offsets[row], offsets[row + 1]
    frequency = 0.0
    for p in range(first, last):
        frequency += count[p]
    left = position * frequency
    for p in range(first, last - 1):
        left -= count[p]
        if left < 0:
            return next_of_pair[p]
    return next_of_pair[last - 1]


@kernel
def _draw_expected_character(
    position, symbols, node, shorter, start, next_character, discounted, backoff_weight
):
    """The character at a position in (0, 1) of an n-gram's distribution."""
    while node >= 0:
        for p in range(start[node], start[node + 1]):
            position -= discounted[p]
            if position < 0:
                return next_character[p]
        position = min(position / backoff_weight[node], 1.0)
        node = shorter[node]
    return np.int32(min(int(position * symbols), symbols - 1))


@kernel
def draw_smoothed(
    key, mask_key, first_step, cumulative, guide, smoothing, offsets, next_of_pair, count, symbols,
    longest, shorter, start, tree_character, discounted, backoff_weight, next_character,
    pair_weight, used, rows, weight, pair_start, pair_end, row_keys
):
    """Fills a block of steps as `draw_sampled`, with smooth targets that are not written out.

    A position among all examples says which context (`cumulative`, of contexts), and how far into
    it, which character.
    """
    steps, size = rows.shape[0], next_character.size // rows.shape[0]
    unit = np.float32(1.0 / size)
    reached = np.empty(size + 1)
    for s in range(steps):
        base = (first_step + np.uint64(s)) << np.uint64(21)
        total = 0.0
        for i in range(size + 1):
            total -= math.log(_uniform(key, base + np.uint64(i)))
            reached[i] = total
        u, entry = -1, s * size
        for i in range(size):
            position = reached[i] / total
            row = _find(cumulative, guide, position)
            if u < 0 or row != rows[s, u]:
                u += 1
                rows[s, u], weight[s, u] = row, 0.0
                pair_start[s, u] = entry
                row_keys[s, u] = np.uint32(_mix(mask_key, base + np.uint64(u)) >> np.uint64(32))
            width = cumulative[row + 1] - cumulative[row]
            inside = min(max((position - cumulative[row]) / width, 0.0), 1.0)
            if inside < smoothing:
                next_character[entry] = _draw_expected_character(
                    inside / smoothing, symbols, longest[row], shorter, start, tree_character,
                    discounted, backoff_weight
                )
            else:
                next_character[entry] = _draw_counted(
                    (inside - smoothing) / (1.0 - smoothing), offsets, next_of_pair, count, row
                )
            pair_weight[entry] = unit
            entry += 1
            pair_end[s, u] = entry
            weight[s, u] += unit
        used[s] = u + 1
