"""The user tower of `towers.nets.user_tower`, compiled: one call encodes many queries by their last place.

Keys and values of every position are computed, and the layers below the last, which later ones read; the
rest of the last layer, and what comes after it, for the question alone. In torch one query costs a hundred
calls of some microseconds each, for all of its positions; here it costs the arithmetic its answer needs.
"""

from typing import NamedTuple

import numpy as np

from retrieval.index.compiled import compiled
from retrieval.index.prefetch import prefetch

OUTPUT_STEP = 4
"""Outputs that a product computes at once; a matrix has a multiple of it, the last of them unused."""

# Rows of a matrix that are asked for while others are multiplied: of one query each number is read but once.
_AHEAD = 16
_EPSILON = np.float32(1e-5)
_SHORTEST = np.float32(1e-12)


class Weights(NamedTuple):
    """One member's user tower, of width E, L layers and I interests of W numbers each; see `weights`.

    Matrices are (outputs, inputs), the outputs padded by zeros to a multiple of `OUTPUT_STEP`. What a layer
    norm multiplies and adds is in those that read it. Tables of what a tower does not have are empty.
    """

    item: np.ndarray  # (E, E), of item vectors times the root of E
    minutes: np.ndarray  # (3, E): times the logarithm; where they are known; always
    gap: np.ndarray  # (buckets, E)
    moment_in: np.ndarray  # (knots, E)
    moment_out: np.ndarray  # (knots, W)
    clock: np.ndarray  # int64 (3,): start, end, step in seconds
    read: np.ndarray  # (L, 2 E, E): query / root of its head's width, then gate
    read_bias: np.ndarray  # (L, 2 E)
    told: np.ndarray  # (L, 2 E, E): key, then value
    told_bias: np.ndarray  # (L, 2 E)
    distance_bias: np.ndarray  # (L, heads, positions)
    age_bias: np.ndarray  # (L, buckets, heads)
    attended: np.ndarray  # (L, E, E)
    feed: np.ndarray  # (L, 5 E, E): the two sides of the product, then gate
    feed_bias: np.ndarray  # (L, 5 E)
    fed: np.ndarray  # (L, E, 2 E)
    out: np.ndarray  # (I W, E)
    out_bias: np.ndarray  # (I W,)
    recency: np.ndarray  # (positions,)
    taste: np.ndarray  # (I, W)
    newness: np.ndarray  # (I, E)
    newness_bias: np.ndarray  # (I,)
    ticks: np.ndarray  # int64 (3,): start, end in seconds, how many
    no_bias: np.ndarray  # (E,) zeros
    asked: bool  # whether time is read as of the question, or else as of the events


@compiled
def encode_queries(
    offset: np.ndarray,  # int64 (Q + 1,)
    item_row: np.ndarray,  # int64 (S,)
    seconds: np.ndarray,  # int64 (S,)
    minutes: np.ndarray,  # float32 (S,), NaN where unknown
    asked_seconds: np.ndarray,  # int64 (Q,)
    start: np.ndarray,  # float32 (Q, E): the start token, with what is known of the profile
    first: int,  # of the queries, which are encoded
    last: int,
    item: np.ndarray,  # float32 (N, D): the vectors of the catalogue
    column: int,  # the first of the member's own among them
    scale: np.float32,  # what makes those a unit vector, and what a query's is divided by
    w: Weights,
    out: np.ndarray,  # float32 (Q, I, D), of which the member's own columns are written
) -> int:
    """Writes the vectors of the queries; gives -1, or the first query whose history names no item."""
    dim, num_layers, num_positions = w.item.shape[1], len(w.attended), len(w.recency)
    num_interests, width = w.taste.shape
    lines = num_positions + 1  # products write two lines at once
    seen = np.zeros((lines, dim), np.float32)
    hidden = np.zeros((lines, dim), np.float32)
    normed = np.zeros((lines, dim), np.float32)
    told = np.zeros((lines, w.told.shape[1]), np.float32)
    read = np.zeros((lines, w.read.shape[1]), np.float32)
    fed = np.zeros((lines, w.feed.shape[1]), np.float32)
    change = np.zeros((lines, max(len(w.item), len(w.out))), np.float32)
    when, asked, bucket = np.zeros(lines, np.int64), np.zeros(lines, np.int64), np.zeros(lines, np.int64)
    weight, liking = np.zeros(lines, np.float32), np.zeros(num_interests, np.float32)
    for one in range(first, last):
        stop = offset[one + 1]
        begin = max(offset[one], stop - (num_positions - 1))
        size = stop - begin + 1
        for event in range(begin, stop):
            prefetch(item, (item_row[event] * item.shape[1] + column) * 4, 4 * dim)
        for place in range(1, size):
            event = begin + place - 1
            row = item_row[event]
            if row < 0 or row >= len(item):
                return int(one)
            when[place], asked[place - 1] = seconds[event], seconds[event]
            for d in range(dim):
                seen[place, d] = item[row, column + d] * scale
        asked[size - 1] = asked_seconds[one]
        _affine(seen, 1, size, w.item, w.no_bias, change)
        for place in range(size):
            if place == 0:
                hidden[0] = start[one]
            else:
                hidden[place] = change[place, :dim]
                _add_minutes(minutes[begin + place - 1], w.minutes, hidden[place])
            if len(w.gap) > 0:
                span, known = asked[place] - when[place], place > 0
                if not w.asked:
                    span, known = when[place] - when[place - 1], place > 1
                row = _bucket(span, known, len(w.gap))
                for d in range(dim):
                    hidden[place, d] += w.gap[row, d]
            if len(w.moment_in) > 0:
                _add_moment(asked[place], w.clock, w.moment_in, hidden[place])
        for layer in range(num_layers):
            age_bias = w.age_bias[layer]
            reader = size - 1 if layer == num_layers - 1 else 0
            for place in range(size):
                _standardised(hidden[place], normed[place])
            _affine(normed, 0, size, w.told[layer], w.told_bias[layer], told)
            _affine(normed, reader, size, w.read[layer], w.read_bias[layer], read)
            for place in range(reader, size):
                if len(age_bias) > 0:
                    now = asked[place] if w.asked else when[place]
                    for other in range(place + 1):
                        bucket[other] = _bucket(now - when[other], other > 0, len(age_bias))
                bias = w.distance_bias[layer]
                _attend(read[place], told, place, bias, age_bias, bucket, weight, normed[place])
            _affine(normed, reader, size, w.attended[layer], w.no_bias, change)
            for place in range(reader, size):
                for d in range(dim):
                    hidden[place, d] += change[place, d] * _sigmoid(read[place, dim + d])
                _standardised(hidden[place], normed[place])
            _affine(normed, reader, size, w.feed[layer], w.feed_bias[layer], fed)
            for place in range(reader, size):
                for d in range(2 * dim):
                    left = fed[place, d]
                    fed[place, d] = left * _sigmoid(left) * fed[place, 2 * dim + d]
            _affine(fed, reader, size, w.fed[layer], w.no_bias, change)
            for place in range(reader, size):
                for d in range(dim):
                    hidden[place, d] += change[place, d] * _sigmoid(fed[place, 4 * dim + d])
        final = size - 1
        _standardised(hidden[final], normed[final])
        _affine(normed, final, size, w.out, w.out_bias, change)
        for interest in range(num_interests):
            query = out[one, interest, column : column + dim]
            _to_unit(change[final, interest * width : interest * width + width], query, np.float32(1.0))
            _add_recent(seen, size, w.recency, w.taste, interest, liking, query)
            if len(w.moment_out) > 0:
                _add_moment(asked[final], w.clock, w.moment_out, query)
            if width < dim:
                wanted = w.newness_bias[interest]
                for d in range(dim):
                    wanted += w.newness[interest, d] * hidden[final, d]
                _write_ages(asked[final], w.ticks, wanted, query, width)
            _to_unit(query, query, scale)
    return -1


@compiled
def _affine(
    x: np.ndarray, first: int, last: int, matrix: np.ndarray, bias: np.ndarray, out: np.ndarray
) -> None:
    """out[t] = matrix x[t] + bias for the lines from first to last, and one more where their count is odd.

    Eight sums at once: each number that is read is multiplied two or four times. One line is for itself: its
    time is that of reading the matrix.
    """
    width = matrix.shape[1]
    if last - first == 1:
        _affine_once(x[first], matrix, bias, out[first])
        return
    for o in range(0, len(matrix), 4):
        prefetch(matrix, (o + _AHEAD) * 4 * width, 16 * width)
        for t in range(first, last, 2):
            a0, a1, a2, a3 = bias[o], bias[o + 1], bias[o + 2], bias[o + 3]
            b0, b1, b2, b3 = a0, a1, a2, a3
            for d in range(width):
                a, b = x[t, d], x[t + 1, d]
                m0, m1, m2, m3 = matrix[o, d], matrix[o + 1, d], matrix[o + 2, d], matrix[o + 3, d]
                a0 += a * m0
                a1 += a * m1
                a2 += a * m2
                a3 += a * m3
                b0 += b * m0
                b1 += b * m1
                b2 += b * m2
                b3 += b * m3
            out[t, o], out[t, o + 1], out[t, o + 2], out[t, o + 3] = a0, a1, a2, a3
            out[t + 1, o], out[t + 1, o + 1], out[t + 1, o + 2], out[t + 1, o + 3] = b0, b1, b2, b3


@compiled
def _affine_once(x: np.ndarray, matrix: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    width = matrix.shape[1]
    for o in range(0, len(matrix), 4):
        prefetch(matrix, (o + _AHEAD) * 4 * width, 16 * width)
        a0, a1, a2, a3 = bias[o], bias[o + 1], bias[o + 2], bias[o + 3]
        for d in range(width):
            a0 += x[d] * matrix[o, d]
            a1 += x[d] * matrix[o + 1, d]
            a2 += x[d] * matrix[o + 2, d]
            a3 += x[d] * matrix[o + 3, d]
        out[o], out[o + 1], out[o + 2], out[o + 3] = a0, a1, a2, a3


@compiled
def _attend(
    read: np.ndarray,
    told: np.ndarray,
    place: int,
    distance_bias: np.ndarray,
    age_bias: np.ndarray,
    bucket: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
) -> None:
    """Writes what the place attends to, head after head, of all places up to it."""
    dim, num_heads = len(out), len(distance_bias)
    head_dim = dim // num_heads
    for head in range(num_heads):
        begin = head * head_dim
        largest = np.float32(-np.inf)
        for other in range(place + 1):
            score = np.float32(0.0)
            for d in range(begin, begin + head_dim):
                score += read[d] * told[other, d]
            score += distance_bias[head, place - other]
            if len(age_bias) > 0:
                score += age_bias[bucket[other], head]
            weight[other] = score
            largest = max(largest, score)
        total = np.float32(0.0)
        for other in range(place + 1):
            weight[other] = np.exp(weight[other] - largest)
            total += weight[other]
        out[begin : begin + head_dim] = 0.0
        for other in range(place + 1):
            share = weight[other] / total
            for d in range(begin, begin + head_dim):
                out[d] += share * told[other, dim + d]


@compiled
def _add_recent(
    seen: np.ndarray,
    size: int,
    recency: np.ndarray,
    taste: np.ndarray,
    interest: int,
    liking: np.ndarray,
    out: np.ndarray,
) -> None:
    """Adds the events' vectors, by their distance, and of several interests by its share in each."""
    num_interests, width = taste.shape
    for place in range(1, size):
        share = recency[size - 1 - place]
        if num_interests > 1:
            largest, total = np.float32(-np.inf), np.float32(0.0)
            for each in range(num_interests):
                liking[each] = 0.0
                for d in range(width):
                    liking[each] += taste[each, d] * seen[place, d]
                largest = max(largest, liking[each])
            for each in range(num_interests):
                total += np.exp(liking[each] - largest)
            share *= np.exp(liking[interest] - largest) / total
        for d in range(width):
            out[d] += share * seen[place, d]


@compiled
def _standardised(x: np.ndarray, out: np.ndarray) -> None:
    """Writes x less its mean by its deviation."""
    dim = len(x)
    mean, square = np.float32(0.0), np.float32(0.0)
    for d in range(dim):
        mean += x[d]
    mean /= np.float32(dim)
    for d in range(dim):
        square += (x[d] - mean) * (x[d] - mean)
    factor = np.float32(1.0) / np.sqrt(square / np.float32(dim) + _EPSILON)
    for d in range(dim):
        out[d] = (x[d] - mean) * factor


@compiled
def _to_unit(x: np.ndarray, out: np.ndarray, scale: np.float32) -> None:
    """Writes x by its length and by the scale."""
    square = np.float32(0.0)
    for d in range(len(x)):
        square += x[d] * x[d]
    factor = np.float32(1.0) / (max(np.sqrt(square), _SHORTEST) * scale)
    for d in range(len(x)):
        out[d] = x[d] * factor


@compiled
def _add_minutes(minutes: np.float32, matrix: np.ndarray, out: np.ndarray) -> None:
    known = np.isfinite(minutes)
    logarithm = np.log1p(minutes) if known else np.float32(0.0)
    flag = np.float32(1.0) if known else np.float32(0.0)
    for d in range(len(out)):
        out[d] += matrix[0, d] * logarithm + matrix[1, d] * flag + matrix[2, d]


@compiled
def _add_moment(seconds: int, clock: np.ndarray, knot: np.ndarray, out: np.ndarray) -> None:
    """Adds the vector of a moment, as `towers.nets.moments.Moments` has it."""
    start, end, step = clock[0], clock[1], clock[2]
    last = len(knot) - 1
    since = min(max(seconds, start), end) - start
    before = min(since // step, max(last - 1, 0))
    after = min(before + 1, last)
    share = np.float32(since - before * step) / np.float32(step)
    for d in range(knot.shape[1]):
        out[d] += knot[before, d] + share * (knot[after, d] - knot[before, d])


@compiled
def _write_ages(seconds: int, ticks: np.ndarray, wanted: np.float32, out: np.ndarray, width: int) -> None:
    """Writes how much what is new is wanted behind the first numbers, at the two ticks about the moment."""
    start, end, num = ticks[0], ticks[1], ticks[2]
    span = end - start
    since = (min(max(seconds, start), end) - start) * (num - 1)
    before, share = since // span, np.float32(since % span) / np.float32(span)
    out[width:] = 0.0
    out[width + before] = wanted * (np.float32(1.0) - share)
    if before + 1 < num:
        out[width + before + 1] = wanted * share


@compiled
def _bucket(seconds: int, known: bool, num_buckets: int) -> int:
    """As in `towers.nets.user_tower`: 1 + the whole logarithm to base 2, 0 where it is not known."""
    if not known:
        return 0
    logarithm = int(np.floor(np.log2(np.float32(max(seconds, 1)))))
    return min(logarithm, num_buckets - 2) + 1


@compiled
def _sigmoid(x: np.float32) -> np.float32:
    return np.float32(np.float32(1.0) / (np.float32(1.0) + np.exp(-x)))
