"""Items in groups of 32, by the best score of each: what a GPU writes down in place of every score.

128 items are a tile. A group is the columns of a tile with one value of column % 8 // 2: those that one
thread of the tensor cores' layout holds, so that their maximum asks no other thread. The groups at one place
of all tiles of a block are a super-group; whoever looks for the best groups begins with the best of those.

The functions here are the layout in plain torch, for devices without the kernels of `group_kernels`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

TILE, GROUP, PLACES = 128, 32, 4
"""Items of a tile and of a group, and groups of a tile."""

# Items whose scores are held at once.
_PART = 1 << 18


@dataclass(frozen=True, slots=True)
class Passing:
    """Which items each query may be answered with.

    bits: uint8 (B, W), a byte for eight items, W of whole tiles: bit i of byte j is item 8 j + i, and those
    past the last item are 0. line: int64 (Q,), the bitmap of each query.
    """

    bits: UInt8[Tensor, "B W"]
    line: Int64[Tensor, " Q"]

    def select(self, queries: Int64[Tensor, " n"]) -> "Passing":
        """Of these queries alone."""
        return Passing(self.bits, self.line[queries])

    def of(self, row: Int64[Tensor, "Q C"]) -> Bool[Tensor, "Q C"]:
        """Whether rows pass; those past the last item do not."""
        num_bytes = self.bits.shape[1]
        byte = self.bits[self.line[:, None], (row // 8).clamp(max=num_bytes - 1)]
        return (byte >> (row % 8).to(torch.uint8) & 1).bool() & (row < 8 * num_bytes)

    def unpacked(self, first: int, last: int) -> Bool[Tensor, "Q _"]:
        """Whether the rows from a byte's first one on pass, up to another."""
        bits = self.bits[:, first // 8 : -(-last // 8)]
        place = torch.arange(8, dtype=torch.uint8, device=bits.device)
        return (bits[:, :, None] >> place & 1).flatten(1)[:, : last - first].bool()[self.line]


def num_blocks(num_items: int, tiles_per_block: int) -> int:
    """Blocks of tiles that hold so many items."""
    return -(-num_items // (TILE * tiles_per_block))


def rows_of(group: Int64[Tensor, "*n"]) -> Int64[Tensor, "*n 32"]:
    """The items' rows of each group, numbered tile · 4 + place; past the last item there may be some."""
    each = torch.arange(GROUP, device=group.device)
    first = group // PLACES * TILE + group % PLACES * 2
    return first[..., None] + each // 2 * 8 + each % 2


def groups_of(of_super: Int64[Tensor, "Q C"], tiles_per_block: int) -> Int64[Tensor, "Q _"]:
    """The groups of each super-group, numbered block · 4 + place."""
    tile = torch.arange(tiles_per_block, device=of_super.device)
    tiles = (of_super // PLACES * tiles_per_block)[:, :, None] + tile
    return (tiles * PLACES + (of_super % PLACES)[:, :, None]).flatten(1)


def group_maxima(
    query: Float[Tensor, "Q D"],
    item: Float[Tensor, "N D"],
    tiles_per_block: int,
    passing: Passing | None = None,
) -> tuple[Float32[Tensor, "Q G"], Float32[Tensor, "Q S"]]:
    """The best inner product of every group and of every super-group, in the order of their numbers.

    -inf where there is no item, or none that passes. Without a rule all scores are held, with one those of a
    part of the items.
    """
    if passing is None:
        return _maxima((query @ item.T).float(), tiles_per_block)
    step = max(1, _PART // (TILE * tiles_per_block)) * TILE * tiles_per_block
    found = []
    for first in range(0, len(item), step):
        part = item[first : first + step]
        passes = passing.unpacked(first, first + len(part))
        scores = (query @ part.T).float().masked_fill_(~passes, -torch.inf)
        found.append(_maxima(scores, tiles_per_block))
    of_group, of_super = (torch.cat(each, dim=1) for each in zip(*found, strict=True))
    return of_group, of_super


def _maxima(scores: Tensor, tiles_per_block: int) -> tuple[Tensor, Tensor]:
    """Of scores (Q, N) from a block's first item on."""
    size = TILE * tiles_per_block
    missing = num_blocks(scores.shape[1], tiles_per_block) * size - scores.shape[1]
    scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
    tiles = scores.view(len(scores), -1, tiles_per_block, TILE // 8, PLACES, 2).amax((3, 5))
    return tiles.flatten(1), tiles.amax(2).flatten(1)


def scores_within(
    query: Float[Tensor, "Q D"], item: Float[Tensor, "N D"], group: Int64[Tensor, "Q C"]
) -> Float32[Tensor, "Q _"]:
    """The scores of the items of some groups, those of a group side by side: -inf past the last item."""
    row = rows_of(group).flatten(1)
    scores = (item[row.clamp(max=len(item) - 1)].float() * query[:, None].float()).sum(2)
    return scores.masked_fill(row >= len(item), -torch.inf)
