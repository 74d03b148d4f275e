"""The full softmax on a CPU in machine code: exponentials of all scores, with the three products around them.

A block of scores goes through the first two products and the exponential before the next one is made, and
stays in a core's cache; no product is called, packed or written down between two others.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

from towers.objectives.vector_tiles import LANES, NUMBER_BYTES, add_product, compiled, replace_by_powers

_POSITIONS = 64
# Scores of so many items of a block, 64 KiB, and the items stay in a core's cache through three passes.
_ITEMS = 256


def vector_walk_fits(query: Tensor, item: Tensor) -> bool:
    """Whether `vector_walk` can take these: float32 on a CPU with AVX-512, or AVX2 and FMA, none empty."""
    return (
        LANES > 0
        and query.device.type == "cpu"
        and query.dtype == item.dtype == torch.float32
        and min(query.numel(), item.numel()) > 0
    )


def vector_walk(
    query: Float32[Tensor, "P D"],
    item: Float32[Tensor, "N D"],
    whole: Float32[Tensor, " P"],
    peak: Float32[Tensor, " P"],
    exponent: float,
) -> tuple[Float32[Tensor, " P"], Float32[Tensor, "P D"], Float32[Tensor, "N D"]]:
    """Log-totals in nats, each softmax's mean item, and the items' vectors of all softmaxes, weighed.

    With e_pj = 2^(exponent <q_p, v_j>): log sum_j e_pj, sum_j e_pj v_j / sum_j e_pj, and for each item j
    sum_p whole_p e_pj q_p / sum_k e_pk. peak: taken off each position's exponents in between, of which none
    may be above 127 then; what lies below -126 counts as that. Holds 64 scores per item and no interpreter
    lock. Sums are taken in parts, in an order that no number of threads changes.
    """
    dim = query.shape[1]
    query, item = (F.pad(side, (0, -dim % LANES)).contiguous() for side in (query, item))
    width = min(_POSITIONS, -(-len(query) // LANES) * LANES)
    log_total, mean, gradient = query.new_empty(len(query)), torch.zeros_like(query), torch.zeros_like(item)
    room = (
        query.new_empty(query.shape[1], width),
        query.new_empty(len(item), width),
        query.new_empty(width, query.shape[1]),
        query.new_empty(2, width),
    )
    _walk(
        *(one.contiguous().numpy() for one in (query, item, whole, peak)),
        exponent,
        *(one.numpy() for one in (log_total, mean, gradient, *room)),
    )
    return log_total, mean[:, :dim], gradient[:, :dim]


@compiled
def _walk(
    query: np.ndarray,
    item: np.ndarray,
    whole: np.ndarray,
    peak: np.ndarray,
    exponent: float,
    log_total: np.ndarray,
    mean: np.ndarray,
    gradient: np.ndarray,
    column: np.ndarray,
    score: np.ndarray,
    scaled: np.ndarray,
    lines: np.ndarray,
) -> None:
    """Fills log_total, and adds to mean and gradient, which are 0; the other arrays are room.

    Room comes from the caller: what is allocated here could be freed while its address is still used.
    """
    (num_items, dim), width = item.shape, score.shape[1]
    item_bytes, line_bytes = dim * NUMBER_BYTES, width * NUMBER_BYTES
    items, columns, scores, shares, gradients = (
        np.int64(item.ctypes.data),
        np.int64(column.ctypes.data),
        np.int64(score.ctypes.data),
        np.int64(scaled.ctypes.data),
        np.int64(gradient.ctypes.data),
    )
    shift, total = lines[0], lines[1]
    shifts, totals = np.int64(shift.ctypes.data), np.int64(total.ctypes.data)
    for first in range(0, len(query), width):
        num = min(width, len(query) - first)
        num_vectors = -(-num // LANES)
        means = np.int64(mean.ctypes.data) + first * item_bytes
        lines[:] = 0.0
        column[:] = 0.0
        for p in range(num):
            shift[p] = -peak[first + p]
            for d in range(dim):
                column[d, p] = query[first + p, d] * np.float32(exponent)
        for top in range(0, num_items, _ITEMS):
            num_rows = min(_ITEMS, num_items - top)
            rows, block = items + top * item_bytes, scores + top * line_bytes
            add_product(
                *(rows, item_bytes, NUMBER_BYTES, columns, line_bytes, shifts, 0, block, line_bytes),
                *(num_rows, num_vectors, dim),
            )
            for vector in range(num_vectors):
                at = vector * LANES * NUMBER_BYTES
                replace_by_powers(block + at, line_bytes, num_rows, totals + at)
            add_product(
                *(block, NUMBER_BYTES, line_bytes, rows, item_bytes, means, item_bytes, means, item_bytes),
                *(num, dim // LANES, num_rows),
            )
        for p in range(num):
            log_total[first + p] = (math.log2(total[p]) + peak[first + p]) * math.log(2.0)
            for d in range(dim):
                mean[first + p, d] /= total[p]
                scaled[p, d] = query[first + p, d] * (whole[first + p] / total[p])
        add_product(
            *(scores, line_bytes, NUMBER_BYTES, shares, item_bytes),
            *(gradients, item_bytes, gradients, item_bytes, num_items, dim // LANES, num),
        )
