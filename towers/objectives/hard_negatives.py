"""Hard negatives: what the model ranks high and a profile did not choose, less what it may well like."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from towers.settings import bounded
from towers.topk import topk

Search = Callable[[Tensor, int], Tensor]
"""The rows that an index finds for each query, int64 (P, k), best first, -1 for none: search(query, k)."""


@dataclass(frozen=True, slots=True)
class HardNegativeSettings:
    """Which of the items found near a query are its hard negatives.

    num: at most so many for each position; 0 mines none. skip, depth: ranks from `skip` up to `depth` are
    looked at.
    share: none may score `share` of the positive's score or more. margin: nor more than the positive's less
    this.
    """

    num: int = bounded(0, ge=0)
    skip: int = bounded(0, ge=0)
    depth: int = bounded(100, ge=1)
    share: float = bounded(0.95, gt=0, le=1)
    margin: float = bounded(0.0, ge=0)


def exact_search(item: Float[Tensor, "N D"]) -> Search:
    """The search of an index that misses nothing."""
    return lambda query, k: topk(query, item, k)[1]


@torch.no_grad()
def hard_negatives(
    query: Float[Tensor, "P D"],
    item: Float[Tensor, "N D"],
    positive_row: Int64[Tensor, "P T"],
    search: Search,
    settings: HardNegativeSettings,
    *,
    history_row: Int64[Tensor, "P X"] | None = None,
) -> Int64[Tensor, "P H"]:
    """The hardest negatives of each position, hardest first; -1 where it has no more, H = settings.num.

    Kept are the found rows of ranks skip..depth that are no positive of the position, not in its history, and
    for which s_j < s_+ - (1 - share) |s_+| and s_j <= s_+ - margin, with s_+ the score of the first positive:
    what comes nearer to it than that is more likely a positive that was not seen. A position without a
    positive has none.
    Source: NV-Retriever, Moreira et al. 2024, arXiv:2407.15831, TopK-PercPos and TopK-MarginPos; 95 % is
    theirs.
    """
    found = search(query, settings.depth)[:, settings.skip : settings.depth]
    known = positive_row if history_row is None else torch.cat([positive_row, history_row], 1)
    score = torch.einsum("pd,prd->pr", query, item[found.clamp(min=0)])
    positive = torch.einsum("pd,pd->p", query, item[positive_row[:, 0].clamp(min=0)])[:, None]
    kept = (found >= 0) & (positive_row[:, :1] >= 0)
    kept &= score < positive - (1.0 - settings.share) * positive.abs()
    kept &= score <= positive - settings.margin
    for row in known.unbind(1):
        kept &= found != row[:, None]
    # Those that are kept come first, in the order in which they were found.
    order = (~kept).sort(dim=1, stable=True).indices[:, : settings.num]
    hard = torch.where(kept, found, -1).gather(1, order)
    return torch.nn.functional.pad(hard, (0, settings.num - hard.shape[1]), value=-1)
