"""A few items beside an index, scanned exactly: by codes of 8 bits first, which read a quarter of the memory.

What a code loses is bounded by lengths that are known, with s c the code of x, and t p that of the query q:

    <q, x> <= s t <c, p> + |q| |x - s c| + |q - t p| |s c|,

so only items whose bound reaches the answer are scored by their vectors, and none that belongs there is
missed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8, Int64

from retrieval.index.allowed import Allowed
from retrieval.index.compiled import compiled, holds, passes, sort_into
from retrieval.index.scan import rise, sink
from retrieval.index.threads import in_spans

# Products of 8 and 16 bits in sums of 32 hold so many: 512 · 127 · 32,767 < 2^31.
_MAX_CODE_DIM = 512
# Items whose codes are multiplied at once.
_BLOCK = 1024
# What sums of float32 lose by their order, twice over, relative to the lengths, per term.
_LOST_PER_TERM = 2.0**-23
# Lengths are rounded up by more than float32 rounds them down.
_UP = 1.0 + 2.0**-22


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """M vectors with their rows, ascending, and what bounds their scores.

    code, scale: vector i is about scale[i] · code[i]; code is (M, 0) where vectors are too wide. lost: how
    far it is from that. length: of scale[i] · code[i].
    """

    vectors: Float32[np.ndarray, "M D"]
    row: Int64[np.ndarray, " M"]
    code: Int8[np.ndarray, "M C"]
    scale: Float32[np.ndarray, " M"]
    lost: Float32[np.ndarray, " M"]
    length: Float32[np.ndarray, " M"]


def delta_of(vectors: Float32[np.ndarray, "M D"], row: Int64[np.ndarray, " M"]) -> Delta:
    """The vectors, finite and of norms whose squares float32 holds, ready to be scanned."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scale = np.where(largest > 0.0, largest / 127, 1.0).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    code = np.clip(np.rint(vectors / scale[:, None]), -127, 127).astype(np.int8)
    near = code * scale.astype(np.float64)[:, None]
    lost, length = (np.linalg.norm(each, axis=1) * _UP for each in (vectors - near, near))
    if vectors.shape[1] > _MAX_CODE_DIM:
        code = code[:, :0]
    return Delta(
        np.ascontiguousarray(vectors),
        row,
        np.ascontiguousarray(code),
        scale,
        lost.astype(np.float32),
        length.astype(np.float32),
    )


def scan_delta(
    delta: Delta,
    query: Float32[np.ndarray, "Q D"],
    allowed: Allowed,
    score: Float32[np.ndarray, "Q K"],
    row: Int64[np.ndarray, "Q K"],
) -> None:
    """Puts the items into answers, in place, where they are allowed and better than what is there.

    What is allowed goes by the items' own rows, which are above all that the answers hold. score, row: as
    `Index.search` gives them for these queries, which are finite; then the best K of both.
    """
    if len(delta.row) == 0 or score.shape[1] == 0:
        return
    given = np.ascontiguousarray(query, np.float32)

    def span(first: int, last: int) -> None:
        _scan(
            given,
            first,
            last,
            delta.vectors,
            delta.row,
            delta.code,
            delta.scale,
            delta.lost,
            delta.length,
            allowed.bitmap,
            allowed.line,
            allowed.excluded_offset,
            allowed.excluded,
            score,
            row,
        )

    in_spans(span, len(query))


@compiled
def _scan(
    query: np.ndarray,  # float32 (Q, D)
    first: int,
    last: int,
    vectors: np.ndarray,  # float32 (M, D)
    own_row: np.ndarray,  # int64 (M,)
    code: np.ndarray,  # int8 (M, D); (M, 0) where there are none
    scale: np.ndarray,  # float32 (M,)
    lost: np.ndarray,  # float32 (M,)
    length: np.ndarray,  # float32 (M,)
    bitmap: np.ndarray,  # uint8 (B, W)
    line: np.ndarray,  # int64 (Q,)
    excluded_offset: np.ndarray,  # int64 (Q + 1,)
    excluded: np.ndarray,  # int64 (X,)
    score_out: np.ndarray,
    row_out: np.ndarray,
) -> None:
    """A heap of each query, begun by the answer it has, whose worst gives way to what is better."""
    k, dimension, coded = score_out.shape[1], vectors.shape[1], code.shape[1] > 0
    best, best_row = np.empty(k, np.float32), np.empty(k, np.int32)
    near, dot = np.empty(dimension, np.int16), np.empty(_BLOCK, np.int32)
    for one in range(first, last):
        own, size = line[one], 0
        begin, end = excluded_offset[one], excluded_offset[one + 1]
        while size < k and row_out[one, size] >= 0:
            size += 1
        for i in range(size):  # worst first is a heap
            best[i], best_row[i] = score_out[one, size - 1 - i], row_out[one, size - 1 - i]
        step, norm, query_lost = _in_16_bits(query[one], near)
        per_length = query_lost + dimension * _LOST_PER_TERM * norm
        per_lost = norm * (1.0 + dimension * _LOST_PER_TERM)
        changed = False
        for start in range(0, len(vectors), _BLOCK):
            stop = min(start + _BLOCK, len(vectors))
            if coded:
                _dots(code, near, start, stop, dot)
            for each in range(start, stop):
                if coded and size == k:
                    bound = np.float64(dot[each - start]) * step * np.float64(scale[each])
                    bound += per_lost * np.float64(lost[each]) + per_length * np.float64(length[each])
                    if bound <= best[0]:  # an equal one has a higher row than all that are there
                        continue
                row = own_row[each]
                if own >= 0 and not passes(bitmap[own], row):
                    continue
                if begin < end and holds(excluded, begin, end, row):
                    continue
                total = np.float32(0.0)
                for d in range(dimension):
                    total += vectors[each, d] * query[one, d]
                if size < k:
                    best[size], best_row[size] = total, row
                    rise(best, best_row, size)
                    size += 1
                    changed = True
                elif total > best[0]:
                    best[0], best_row[0] = total, row
                    sink(best, best_row, size)
                    changed = True
        if changed:
            sort_into(best, best_row, size, score_out[one], row_out[one])


@compiled
def _dots(code: np.ndarray, query: np.ndarray, start: int, stop: int, out: np.ndarray) -> None:
    """out[i] = <code[start + i], query>; apart, it becomes multiply-adds of 16 bits."""
    width = code.shape[1]
    for each in range(start, stop):
        total = np.int32(0)
        for d in range(width):
            total += np.int32(code[each, d]) * np.int32(query[d])
        out[each - start] = total


@compiled
def _in_16_bits(query: np.ndarray, out: np.ndarray) -> tuple[float, float, float]:
    """Writes the query in 16 bits; gives the step of one, the query's length, and how much of it is lost."""
    largest = np.float64(0.0)
    for d in range(len(query)):
        largest = max(largest, abs(np.float64(query[d])))
    step = largest / 32767.0 if largest > 0.0 else 1.0
    square, lost = np.float64(0.0), np.float64(0.0)
    for d in range(len(query)):
        value = np.float64(query[d])
        out[d] = np.int16(np.rint(value / step))
        square += value * value
        lost += (value - step * out[d]) ** 2
    return step, np.sqrt(square), np.sqrt(lost)
