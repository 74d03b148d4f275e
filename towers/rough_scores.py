"""Which pairs of queries and items reach a score, told by products of half the bytes, exactly.

Vectors are rounded to bfloat16, of which processors that know it multiply twice as many at once and more. By
how much a score may differ for that is bounded (Higham 2002, Accuracy and Stability of Numerical Algorithms,
ch. 3); what may reach the score in spite of it is scored anew by the vectors as they are. So the answer is
that of the exact products, but for the order of their sums.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

# Of numbers that are rounded to bfloat16, relative to them: half of the last of eight binary places.
_UNIT = 2.0**-8
# Of sums in float32, per number that is added.
_UNIT_OF_SUMS = 2.0**-23
# Scores of a block of items, 4 MiB of them, stay in a cache.
_CACHED_SCORES = 1 << 21
# Shorter or longer vectors, in which tiny numbers are lost and large ones overflow, are none of a catalogue.
_SHORTEST, _LONGEST = 1e-12, 1e12
# Pairs that are scored anew together, and fewer queries than gain by it.
_MAX_PAIRS, _MIN_QUERIES = 1 << 16, 32


class Pairs(NamedTuple):
    """n pairs of a query and an item, and their scores."""

    score: Float32[Tensor, " n"]
    query: Int64[Tensor, " n"]
    item: Int64[Tensor, " n"]


def is_fast(query: Float[Tensor, "Q *I D"], item: Float[Tensor, "N D"]) -> bool:
    """Whether `rough_pairs` takes these, and is faster than products of float32 here."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return (
        (known.get("avx512_bf16", False) or known.get("amx_bf16", False))
        and query.device.type == item.device.type == "cpu"
        and query.dtype == item.dtype == torch.float32
        and query.ndim == 2
        and len(query) >= _MIN_QUERIES
    )


def rough_pairs(
    query: Float32[Tensor, "Q D"], item: Float32[Tensor, "N D"], least: Float32[Tensor, " Q"], most: int
) -> Pairs | None:
    """The pairs that score `least` of the query or more, the items of each query ascending.

    None where more than `most` may reach it, and where vectors are too short, too long or no numbers.
    """
    length = torch.linalg.vector_norm(query, dim=1)
    if not _are_sound(length):
        return None
    rough = query.bfloat16()
    lost = torch.linalg.vector_norm(query - rough.float(), dim=1)
    # Per unit of an item's length: by the rounding of the query, of the item, and of sums.
    error = lost + (length + lost) * (_UNIT + query.shape[1] * _UNIT_OF_SUMS)
    width, found, num_found = max(1, _CACHED_SCORES // len(query)), [], 0
    room = torch.empty((len(query), min(width, len(item))), dtype=torch.bfloat16)
    for first in range(0, len(item), width):
        block = item[first : first + width]
        longest = torch.linalg.vector_norm(block, dim=1).amax()
        if not _are_sound(longest):
            return None
        bound = least - error * longest
        bound -= _UNIT * bound.abs()  # the product itself is rounded
        scores = torch.mm(rough, block.bfloat16().T, out=room[:, : len(block)])
        _, line, column = reaching(scores, bound)
        num_found += len(line)
        if num_found > most:
            return None
        found.append((line, column + first))
    line, row = (torch.cat(parts) for parts in zip(*found, strict=True))
    again = [_scored(query, item, line[some], row[some], least) for some in _slices(len(line))]
    return joined(again)


def reaching(scores: Float[Tensor, "Q N"], least: Float32[Tensor, " Q"]) -> Pairs:
    """The scores of a block that reach what is asked of their line, line by line."""
    # Most lines have nothing in a block; of one with NaN the maximum says nothing.
    near = torch.nonzero(~(scores.amax(1) < least)).flatten()
    scores = scores[near].float()
    line, column = torch.nonzero(scores >= least[near, None], as_tuple=True)
    return Pairs(scores[line, column], near[line], column)


def joined(parts: Sequence[Pairs]) -> Pairs:
    """All pairs, those of the first part first."""
    if not parts:
        nothing = torch.empty(0, dtype=torch.int64)
        return Pairs(torch.empty(0), nothing, nothing)
    return Pairs(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _are_sound(length: Tensor) -> bool:
    return bool(((length >= _SHORTEST) & (length <= _LONGEST)).all())


def _slices(num: int) -> list[slice]:
    return [slice(start, start + _MAX_PAIRS) for start in range(0, num, _MAX_PAIRS)]


def _scored(query: Tensor, item: Tensor, line: Tensor, row: Tensor, least: Tensor) -> Pairs:
    score = (query[line] * item[row]).sum(1)
    kept = score >= least[line]
    return Pairs(score[kept], line[kept], row[kept])
