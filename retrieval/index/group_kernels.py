"""The functions of `groups` as GPU kernels: scores stay in the cores, and only their maxima are written.

Written in Triton, which comes with every CUDA build of torch; importing this module needs it. Tuned and
tested on compute capability 9.0.
"""

from dataclasses import dataclass
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from retrieval.index.groups import GROUP, PLACES, TILE, Passing, num_blocks

# What a GPU keeps of its shared memory for itself, per block of threads.
_RESERVED_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """What a block of threads holds: queries that stay, and tiles of items that are copied ahead of use.

    per_core: such blocks that share a core.
    """

    rows: int
    warps: int
    stages: int
    per_core: int

    @classmethod
    def of(cls, num_queries: int, dim: int, room: int, *, ruled: bool) -> "Shape":
        """Few queries wait for the items' bytes, many for the tensor cores, and those for bytes of the cache.

        room: bytes of shared memory of a core. ruled: whether what passes is looked up, which takes as many
        registers as the scores.
        """
        if num_queries <= 16:
            return cls(16, 8, 3, 2)
        if num_queries <= 64 or ruled:
            return cls(64, 4, 3, 2)
        rows, stages = (256, 3) if num_queries > 128 else (128, 4)
        while rows > 64 and (rows + stages * TILE) * dim * 2 + _RESERVED_BYTES > room:
            rows, stages = (rows, stages - 1) if stages > 3 else (rows // 2, 3)
        return cls(rows, 8 if rows > 64 else 4, stages, 1)


def group_maxima(
    query: Tensor, item: Tensor, tiles_per_block: int, passing: Passing | None = None
) -> tuple[Tensor, Tensor]:
    """As `groups.group_maxima`, but that without a rule a group which lacks some items has 0 at least.

    query (Q, D) and item (N, D) are of one type, contiguous, of whole 16 bytes a row; D is 256 at most.
    """
    num_tiles, blocks = triton.cdiv(len(item), TILE), num_blocks(len(item), tiles_per_block)
    of_group = query.new_empty((len(query), blocks * tiles_per_block * PLACES), dtype=torch.float32)
    of_super = query.new_empty((len(query), blocks * PLACES), dtype=torch.float32)
    of_group[:, num_tiles * PLACES :] = -torch.inf
    dim = max(16, triton.next_power_of_2(query.shape[1]))
    cores, room = 1, 1 << 18
    if query.is_cuda:
        found = torch.cuda.get_device_properties(query.device)
        cores, room = found.multi_processor_count, found.shared_memory_per_multiprocessor
    shape = Shape.of(len(query), dim, room, ruled=passing is not None)
    lines = triton.cdiv(len(query), shape.rows)
    splits = max(1, min(blocks, shape.per_core * cores // lines))
    with torch.cuda.device_of(query):  # type: ignore[no-untyped-call]
        _group_maxima[(lines, splits)](
            TensorDescriptor.from_tensor(query, [shape.rows, dim]),
            TensorDescriptor.from_tensor(item, [TILE, dim]),
            of_group,
            of_super,
            None if passing is None else passing.bits,
            None if passing is None else passing.line,
            0 if passing is None else passing.bits.shape[1],
            len(query),
            num_tiles,
            blocks,
            triton.cdiv(blocks, splits) * tiles_per_block,
            ROWS=shape.rows,
            COLUMNS=TILE,
            PER_BLOCK=tiles_per_block,
            STAGES=shape.stages,
            num_warps=shape.warps,
        )
    return of_group, of_super


def scores_within(query: Tensor, item: Tensor, group: Tensor) -> Tensor:
    """As `groups.scores_within`."""
    (num_queries, num_groups), dim = group.shape, query.shape[1]
    score = query.new_empty((num_queries, num_groups * GROUP), dtype=torch.float32)
    with torch.cuda.device_of(query):  # type: ignore[no-untyped-call]
        _scores_within[(num_groups, num_queries)](
            query,
            item,
            group,
            score,
            len(item),
            num_groups,
            dim,
            DIM=max(16, triton.next_power_of_2(dim)),
            SIZE=GROUP,
            COLUMNS=TILE,
            num_warps=2,
        )
    return score


@triton.jit(do_not_specialize=["num_queries", "num_tiles", "num_blocks", "steps"])
@no_type_check
def _group_maxima(
    query,
    item,
    of_group,
    of_super,
    bits,
    line,
    num_bytes,
    num_queries,
    num_tiles,
    num_blocks,
    steps,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PER_BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    within = (rows < num_queries)[:, None]
    place = tl.arange(0, 4)[None, :]
    to_group = of_group + rows.to(tl.int64)[:, None] * (num_blocks * PER_BLOCK * 4) + place
    to_super = of_super + rows.to(tl.int64)[:, None] * (num_blocks * 4) + place
    x = query.load([tl.program_id(0) * ROWS, 0])
    if bits is not None:
        lines = tl.load(line + rows, mask=rows < num_queries, other=0)
        to_bytes = bits + lines[:, None] * num_bytes + tl.arange(0, COLUMNS // 8)[None, :]
        bit = tl.arange(0, 4)[:, None] * 2 + tl.arange(0, 2)[None, :]
    best = tl.full([ROWS, 4], float("-inf"), tl.float32)
    first = tl.program_id(1) * steps
    last = tl.minimum(first + steps, num_tiles)
    for step in tl.range(first, last, num_stages=STAGES):
        y = item.load([step * COLUMNS, 0])
        score = tl.dot(x, y.T, input_precision="ieee")
        score = tl.reshape(score, [ROWS, COLUMNS // 8, 4, 2])
        if bits is not None:
            byte = tl.load(to_bytes + step * (COLUMNS // 8)).to(tl.int32)
            passes = ((byte[:, :, None, None] >> bit[None, None]) & 1) != 0
            score = tl.where(passes, score, float("-inf"))
        largest = tl.max(tl.max(score, 3), 1)
        tl.store(to_group + step * 4, largest, mask=within)
        best = tl.maximum(best, largest)
        if (step + 1) % PER_BLOCK == 0 or step + 1 == last:
            tl.store(to_super + step // PER_BLOCK * 4, best, mask=within)
            best = tl.full([ROWS, 4], float("-inf"), tl.float32)


@triton.jit(do_not_specialize=["num_items", "num_groups"])
@no_type_check
def _scores_within(
    query,
    item,
    group,
    score_out,
    num_items,
    num_groups,
    dim,
    DIM: tl.constexpr,
    SIZE: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    line = tl.program_id(1).to(tl.int64)
    at = line * num_groups + tl.program_id(0)
    number = tl.load(group + at)
    columns, each = tl.arange(0, DIM), tl.arange(0, SIZE)
    row = number // 4 * COLUMNS + number % 4 * 2 + each // 2 * 8 + each % 2
    x = tl.load(query + line * dim + columns, mask=columns < dim, other=0.0).to(tl.float32)
    there = (row < num_items)[:, None] & (columns < dim)[None, :]
    y = tl.load(item + row[:, None] * dim + columns[None, :], mask=there, other=0.0).to(tl.float32)
    score = tl.where(row < num_items, tl.sum(y * x[None, :], 1), float("-inf"))
    tl.store(score_out + at * SIZE + each, score)
