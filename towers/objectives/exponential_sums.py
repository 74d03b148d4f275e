"""Sums of vectors weighted by exponentials of inner products: the GPU kernels of the full softmax.

Written in Triton, which comes with every CUDA build of torch; importing this module needs it. The loop is
attention's (FlashAttention-2, Dao 2023, arXiv:2307.08691; FlashAttention-3, Shah et al. 2024,
arXiv:2407.08608) with keys that are the values too, and without a running maximum: the caller's shifts keep
exponentials in range. On an H100, in bfloat16 with d = 128, `exponential_sums` does its two products at .95
of the rate of a square matrix product and `weighted_rows` at .80. The same loops in Gluon, Triton's lower
language, reached 1.09 and 1.03; its interface is still experimental, so they are not here. Tuned and tested
on compute capability 9.0; for 8.0, 10.0 and 12.0 it was only compiled.
"""

from dataclasses import dataclass
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

_WARPS, _BLOCKS_PER_CORE, _MOST_SPLITS = 4, 2, 8
# What a GPU keeps of its shared memory for itself, per block.
_RESERVED_BYTES = 1024


def exponential_sums(
    staying: Tensor,
    passing: Tensor,
    scale: float,
    *,
    staying_shift: Tensor,
    passing_shift: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """For every row x_i that stays: sum_j e_ij y_j and sum_j e_ij, float32, over the rows y_j that pass.

    e_ij = 2^(scale <x_i, y_j> + staying_shift_i + passing_shift_j). Shapes (X, D), (Y, D), (X), (Y) give
    (S, X, D) and (S, X): partial sums, to be added along the first axis; Y is split where X has too few rows
    to fill the GPU. Rows are contiguous, of whole 16 bytes, at most 512 of them; neither X nor Y is
    0. It takes 4·X·Y·D operations and holds nothing of size X × Y. The exponentials are rounded to the rows'
    type for the second product, and summed in float32.
    """
    return _sums(staying, passing, scale, staying_shift, passing_shift, None)


def weighted_rows(
    staying: Tensor,
    passing: Tensor,
    scale: float,
    *,
    staying_shift: Tensor | None = None,
    passing_shift: Tensor,
    factor: Tensor,
) -> Tensor:
    """For every row x_i that stays: factor · sum_j e_ij y_j, (X, D) in the rows' type; e_ij as above."""
    return _sums(staying, passing, scale, staying_shift, passing_shift, factor)[0][0]


def largest_scores(
    staying: Tensor, passing: Tensor, scale: float, *, passing_shift: Tensor | None = None
) -> Tensor:
    """For every row x_i that stays: max_j scale <x_i, y_j> + passing_shift_j, (X) in float32."""
    tile = _Tile.of(staying, passing_shift is not None)
    blocks, steps = triton.cdiv(len(staying), tile.staying), triton.cdiv(len(passing), tile.passing)
    splits = _splits(blocks, steps, staying.device)
    largest = staying.new_empty((splits, len(staying)), dtype=torch.float32)
    with torch.cuda.device_of(staying):  # type: ignore[no-untyped-call]
        _largest_scores[(blocks, splits)](
            TensorDescriptor.from_tensor(staying, [tile.staying, tile.dim]),
            TensorDescriptor.from_tensor(passing, [tile.passing, tile.dim]),
            passing_shift,
            largest,
            len(staying),
            len(passing),
            triton.cdiv(steps, splits),
            scale,
            STAYING=tile.staying,
            PASSING=tile.passing,
            STAGES=tile.stages,
            num_warps=_WARPS,
        )
    return largest.amax(0)


@dataclass(frozen=True, slots=True)
class _Tile:
    """What a block of threads holds: rows that stay and rows that pass, numbers per row, copies under way."""

    staying: int
    passing: int
    dim: int
    stages: int

    @classmethod
    def of(cls, staying: Tensor, passing_shifted: bool) -> "_Tile":
        """The tile whose sums stay in registers; a third copy under way if two blocks still share a core."""
        dim = max(16, triton.next_power_of_2(staying.shape[1]))
        row_bytes = dim * staying.element_size()
        passing = 128 if row_bytes <= 256 else 64
        held = row_bytes * 64 + 3 * passing * (row_bytes + 4 * passing_shifted) + _RESERVED_BYTES
        room = 0
        if staying.is_cuda:
            room = torch.cuda.get_device_properties(staying.device).shared_memory_per_multiprocessor
        return cls(64, passing, dim, 3 if _BLOCKS_PER_CORE * held <= room else 2)


def _sums(
    staying: Tensor,
    passing: Tensor,
    scale: float,
    staying_shift: Tensor | None,
    passing_shift: Tensor | None,
    factor: Tensor | None,
) -> tuple[Tensor, Tensor]:
    (num_staying, dim), num_passing = staying.shape, len(passing)
    tile = _Tile.of(staying, passing_shift is not None)
    blocks, steps = triton.cdiv(num_staying, tile.staying), triton.cdiv(num_passing, tile.passing)
    splits = 1 if factor is not None else _splits(blocks, steps, staying.device)
    out_type = torch.float32 if factor is None else staying.dtype
    out = staying.new_empty((splits, num_staying, dim), dtype=out_type)
    total = staying.new_empty((splits, num_staying), dtype=torch.float32)
    with torch.cuda.device_of(staying):  # type: ignore[no-untyped-call]
        _exponential_sums[(blocks, splits)](
            TensorDescriptor.from_tensor(staying, [tile.staying, tile.dim]),
            TensorDescriptor.from_tensor(passing, [tile.passing, tile.dim]),
            staying_shift,
            passing_shift,
            factor,
            out,
            total,
            num_staying,
            num_passing,
            dim,
            triton.cdiv(steps, splits),
            scale,
            STAYING=tile.staying,
            PASSING=tile.passing,
            DIM=tile.dim,
            RAGGED=passing_shift is None and num_passing % tile.passing != 0,
            STAGES=tile.stages,
            num_warps=_WARPS,
        )
    return out, total


def _splits(blocks: int, steps: int, device: torch.device) -> int:
    """How many parts the passing rows are cut into: the fewest that leave the least of the GPU idle."""
    cores = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
    slots = _BLOCKS_PER_CORE * cores

    def busy(splits: int) -> float:
        work = blocks * splits
        return round(work / (-(-work // slots) * slots), 2)

    return max(range(1, min(_MOST_SPLITS, steps) + 1), key=lambda splits: (busy(splits), -splits))


@triton.jit(do_not_specialize=["num_staying", "num_passing", "steps"])
@no_type_check
def _exponential_sums(
    staying,
    passing,
    staying_shift,
    passing_shift,
    factor,
    out,
    total_out,
    num_staying,
    num_passing,
    dim,
    steps,
    scale,
    STAYING: tl.constexpr,
    PASSING: tl.constexpr,
    DIM: tl.constexpr,
    RAGGED: tl.constexpr,
    STAGES: tl.constexpr,
):
    block, split = tl.program_id(0), tl.program_id(1)
    rows = block * STAYING + tl.arange(0, STAYING)
    x = staying.load([block * STAYING, 0])
    if staying_shift is not None:
        shift = tl.load(staying_shift + rows, mask=rows < num_staying, other=0.0)
    acc = tl.zeros([STAYING, DIM], tl.float32)
    # Eight sums per row: the columns that one thread holds are added up without asking the other threads.
    total = tl.zeros([STAYING, 8], tl.float32)
    first = split * steps
    # A last tile that is not full is masked after the loop; where there is a shift, its -inf is the mask.
    last = tl.minimum(first + steps, tl.cdiv(num_passing, PASSING) - (1 if RAGGED else 0))
    for step in tl.range(first, last, num_stages=STAGES):
        y = passing.load([step * PASSING, 0])
        exponent = tl.dot(x, y.T, input_precision="tf32") * scale
        if staying_shift is not None:
            exponent += shift[:, None]
        if passing_shift is not None:
            cols = step * PASSING + tl.arange(0, PASSING)
            exponent += tl.load(passing_shift + cols, mask=cols < num_passing, other=float("-inf"))[None, :]
        odds = tl.exp2(exponent)
        if factor is None:
            total += tl.sum(tl.reshape(odds, [STAYING, PASSING // 8, 8]), 1)
        acc = tl.dot(odds.to(y.dtype), y, acc, input_precision="tf32")
    if RAGGED:  # noqa: SIM102  # known when this is compiled
        if first <= last and last < first + steps:
            y = passing.load([last * PASSING, 0])
            exponent = tl.dot(x, y.T, input_precision="tf32") * scale + shift[:, None]
            inside = last * PASSING + tl.arange(0, PASSING) < num_passing
            odds = tl.where(inside[None, :], tl.exp2(exponent), 0.0)
            total += tl.sum(tl.reshape(odds, [STAYING, PASSING // 8, 8]), 1)
            acc = tl.dot(odds.to(y.dtype), y, acc, input_precision="tf32")
    if factor is not None:
        acc *= tl.load(factor)
    columns = tl.arange(0, DIM)
    at = out + (split * num_staying + rows).to(tl.int64)[:, None] * dim + columns[None, :]
    within = (rows < num_staying)[:, None] & (columns < dim)[None, :]
    tl.store(at, acc.to(out.dtype.element_ty), mask=within)
    if factor is None:
        tl.store(total_out + split * num_staying + rows, tl.sum(total, 1), mask=rows < num_staying)


@triton.jit(do_not_specialize=["num_staying", "num_passing", "steps"])
@no_type_check
def _largest_scores(
    staying,
    passing,
    passing_shift,
    largest_out,
    num_staying,
    num_passing,
    steps,
    scale,
    STAYING: tl.constexpr,
    PASSING: tl.constexpr,
    STAGES: tl.constexpr,
):
    block, split = tl.program_id(0), tl.program_id(1)
    rows = block * STAYING + tl.arange(0, STAYING)
    x = staying.load([block * STAYING, 0])
    largest = tl.full([STAYING, 8], float("-inf"), tl.float32)
    first = split * steps
    last = tl.minimum(first + steps, tl.cdiv(num_passing, PASSING))
    for step in tl.range(first, last, num_stages=STAGES):
        y = passing.load([step * PASSING, 0])
        exponent = tl.dot(x, y.T, input_precision="tf32") * scale
        cols = step * PASSING + tl.arange(0, PASSING)
        if passing_shift is not None:
            exponent += tl.load(passing_shift + cols, mask=cols < num_passing, other=0.0)[None, :]
        exponent = tl.where((cols < num_passing)[None, :], exponent, float("-inf"))
        largest = tl.maximum(largest, tl.max(tl.reshape(exponent, [STAYING, PASSING // 8, 8]), 1))
    tl.store(largest_out + split * num_staying + rows, tl.max(largest, 1), mask=rows < num_staying)
