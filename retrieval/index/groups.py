"""Items in groups of 32, by the best score of each: what a GPU writes down in place of every score.

128 items are a tile. A group is the columns of a tile with one value of column % 8 // 2: those that one
thread of the tensor cores' layout holds, so that their maximum asks no other thread. The groups at one place
of all tiles of a block are a super-group; whoever looks for the best groups begins with the best of those.

The functions here are the layout in plain torch, for devices without the kernels of `group_kernels`.
"""

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

TILE, GROUP, PLACES = 128, 32, 4
"""Items of a tile and of a group, and groups of a tile."""

# Items whose scores are held at once.
_PART = 1 << 18


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
    query: Float[Tensor, "Q D"], item: Float[Tensor, "N D"], tiles_per_block: int
) -> tuple[Float32[Tensor, "Q G"], Float32[Tensor, "Q S"]]:
    """The best inner product of every group and of every super-group, in the order of their numbers.

    -inf where there is no item. All scores are held.
    """
    return _maxima((query @ item.T).float(), tiles_per_block)


def allowed_maxima(
    query: Float[Tensor, "Q D"],
    item: Float[Tensor, "N D"],
    allowed: Bool[Tensor, "Q N"],
    tiles_per_block: int,
) -> tuple[Float32[Tensor, "Q G"], Float32[Tensor, "Q S"]]:
    """As `group_maxima`, of the items that each query is allowed: -inf where there is none.

    Scores of some items are held at a time, products and sums in float32.
    """
    step = max(1, _PART // (TILE * tiles_per_block)) * TILE * tiles_per_block
    parts = zip(torch.split(item, step), torch.split(allowed, step, dim=1), strict=True)
    found = [
        _maxima((query.float() @ part.float().T).masked_fill_(~passes, -torch.inf), tiles_per_block)
        for part, passes in parts
    ]
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
