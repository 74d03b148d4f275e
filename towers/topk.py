"""Exact top-k in torch, CPU and GPU: the one oracle every index and every metric is held against."""

import math

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from towers.errors import QueryError
from towers.rough_scores import Pairs, is_fast, joined, reaching, rough_pairs

# Scores of one block of queries and items are held at once: large enough for a product of matrices to be
# fast, small enough to lie in a cache or near one (32 Mi scores are 128 MiB).
_MAX_SCORES = 1 << 25
_MAX_QUERIES = 512
# Where few scores are of interest, a block of them is compared in a cache: half a Mi scores are 2 MiB.
_CACHED_SCORES = 1 << 19
# Lines shorter than this are looked through whole.
_MIN_GROUPED = 4096
# Of scores that reach a bound, so many for each place of an answer are few.
_FEW_PER_PLACE = 16


def topk(
    query: Float[Tensor, "Q *I D"],
    item: Float[Tensor, "N D"],
    k: int,
    *,
    excluded: Int64[Tensor, "Q X"] | None = None,
    allowed: Bool[Tensor, " N"] | None = None,
) -> tuple[Float32[Tensor, "Q K"], Int64[Tensor, "Q K"]]:
    """Scores and rows of the k items of highest inner product per query, K = k.

    query: a vector each, (Q, D), or several interests, (Q, I, D), of which the best for an item is its score.
    excluded: item rows that a query may not be shown; entries below 0 are padding.
    allowed: items that may be shown at all; all where None.
    Equal scores are ordered by row, so the answer is a function of its input alone. Places that no item
    fills hold row -1 and score -inf. A NaN score never ranks. Raises QueryError on a negative k,
    on shapes that do not fit and on excluded rows that are no item's.
    """
    if k < 0:
        raise QueryError(f"k = {k}: expected 0 or more places")
    if query.ndim not in (2, 3) or 0 in query.shape[1:-1] or query.shape[-1:] != item.shape[1:]:
        raise QueryError(
            f"topk: queries {tuple(query.shape)} and items {tuple(item.shape)}; expected one dimension"
        )
    if excluded is not None and len(excluded) != len(query):
        raise QueryError(f"topk: excluded rows of {len(excluded)} queries for {len(query)} queries")
    num_items = len(item)
    if excluded is not None and excluded.numel() and int(excluded.max()) >= num_items:
        raise QueryError(
            f"topk: excluded row {int(excluded.max())} of {num_items} items; expected one of theirs"
        )
    if allowed is not None and allowed.shape != (num_items,):
        raise QueryError(
            f"topk: allowed is {tuple(allowed.shape)} for {num_items} items; expected one per item"
        )
    score = torch.full((len(query), k), -torch.inf, device=query.device)
    row = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    if k == 0 or num_items == 0:
        return score, row
    step = min(len(query), _MAX_QUERIES)
    width = max(k, _MAX_SCORES // max(step, 1))
    for start in range(0, len(query), step or 1):
        lines = slice(start, min(start + step, len(query)))
        for first in range(0, num_items, width):
            last = min(first + width, num_items)
            scores = _scores(query[lines], item[first:last])
            if allowed is not None:
                scores.masked_fill_(~allowed[first:last], -torch.inf)
            if excluded is not None:
                _exclude(scores, excluded[lines] - first)
            best, best_row = ordered_topk(scores, min(k, last - first))
            best_row = torch.where(best_row < 0, -1, best_row + first)
            if first:
                # Earlier rows stand first, so that of equal scores they come first still.
                best, best_row = _joined(score[lines], row[lines], best, best_row, k)
            score[lines, : best.shape[1]] = best
            row[lines, : best.shape[1]] = best_row
    return score, row


def topk_from(
    query: Float[Tensor, "Q *I D"], item: Float[Tensor, "N D"], k: int, least: Float[Tensor, " Q"]
) -> tuple[Float32[Tensor, "Q K"], Int64[Tensor, "Q K"]] | None:
    """As `topk`, of queries of which k items are known to score `least` or more each, 1 <= k <= N.

    Few scores are put in order then, and all others are compared once. None where they are not few, or where
    k items of a query do not reach it after all.
    """
    most = _FEW_PER_PLACE * k * len(query)
    reached = rough_pairs(query, item, least, most) if is_fast(query, item) else None
    if reached is None:
        reached = _pairs(query, item, least, most)
    if reached is None:
        return None
    score, line, row = reached
    num = torch.bincount(line, minlength=len(query))
    if len(query) == 0 or int(num.min()) < k:
        return None
    # A query's own stand by row; sorted by score, and then by query, equals stay so.
    order = torch.argsort(score, descending=True, stable=True)
    order = order[torch.argsort(line[order], stable=True)]
    best = order[(torch.cumsum(num, 0) - num)[:, None] + torch.arange(k, device=num.device)]
    return score[best], row[best]


def _pairs(query: Tensor, item: Tensor, least: Tensor, most: int) -> Pairs | None:
    """The pairs that score `least` of the query or more, its items ascending; None of more than `most`."""
    width, found, num_found = max(1, _CACHED_SCORES // max(len(query), 1)), [], 0
    room = torch.empty((len(query), min(width, len(item))), device=query.device)
    for first in range(0, len(item), width):
        scores = _scores(query, item[first : first + width], room)
        score, line, column = reaching(scores, least)
        num_found += len(line)
        if num_found > most:
            return None
        found.append(Pairs(score, line, column + first))
    return joined(found)


def ordered_topk(
    scores: Float32[Tensor, "Q N"], k: int
) -> tuple[Float32[Tensor, "Q K"], Int64[Tensor, "Q K"]]:
    """The k highest scores per line and their columns, ties by column; -inf and NaN give column -1.

    Needs 1 <= k <= N; `topk` takes any k.
    """
    width = _group_width(scores.shape[1], k)
    if width > 1:
        return _of_groups(scores, k, width)
    scores = torch.nan_to_num(scores, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    best, column = torch.topk(scores, k, dim=1)
    # torch.topk is free to choose among equals: redo the lines where its last place cuts through a tie.
    last = best[:, -1:]
    cut = ((scores == last).sum(1) > (best == last).sum(1)) & (last[:, 0] > -torch.inf)
    if cut.any():
        whole, whole_column = torch.sort(scores[cut], dim=1, descending=True, stable=True)
        best[cut], column[cut] = whole[:, :k], whole_column[:, :k]
    # Within the k, ties by column: sort by column, then stably by score.
    column, order = torch.sort(column, dim=1)
    best, order = torch.sort(best.gather(1, order), dim=1, descending=True, stable=True)
    column = column.gather(1, order)
    return best, torch.where(best == -torch.inf, -1, column)


def _group_width(num: int, k: int) -> int:
    """Columns of a group, so that the maxima and what is left to look through are about as many; 1: none."""
    if num < _MIN_GROUPED or num < 16 * k:
        return 1
    return 1 << max(2, round(math.log2(num / k) / 2))


def _of_groups(scores: Tensor, k: int, width: int) -> tuple[Tensor, Tensor]:
    """`ordered_topk` of the columns of the k groups of `width` of highest maximum, lower ones first.

    What lies in no such group has k before it, one in each: of a higher score, or of an equal one in a lower
    column. So the answer is the same, and all but a few scores are looked at once.
    """
    num_groups = scores.shape[1] // width
    whole = scores[:, : num_groups * width].reshape(len(scores), num_groups, width)
    highest = whole.amax(2)
    if highest.isnan().any():
        whole = torch.nan_to_num(whole, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        highest = whole.amax(2)
    _, group = ordered_topk(highest, k)
    group, _ = torch.sort(group, dim=1)  # columns stay in their order; -1, no group, comes first
    near = whole.gather(1, group.clamp(min=0)[:, :, None].expand(-1, -1, width))
    near.masked_fill_((group < 0)[:, :, None], -torch.inf)
    rest = scores[:, num_groups * width :]
    best, place = ordered_topk(torch.cat([near.flatten(1), rest], dim=1), k)
    of_rest = place >= k * width
    inside = torch.where(of_rest, 0, place.clamp(min=0))
    column = group.gather(1, inside // width) * width + inside % width
    column = torch.where(of_rest, place + (num_groups - k) * width, column)
    return best, torch.where(place < 0, -1, column)


def _joined(score: Tensor, row: Tensor, more: Tensor, more_row: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The best k of two answers, of which the first is of lower rows."""
    scores, rows = torch.cat([score, more], dim=1), torch.cat([row, more_row], dim=1)
    best, place = ordered_topk(scores, k)
    return best, torch.where(place < 0, -1, rows.gather(1, place.clamp(min=0)))


def _scores(query: Tensor, item: Tensor, room: Tensor | None = None) -> Tensor:
    """Of every item, that of the best interest: one interest's scores beside the best so far are held.

    room: float32 (Q, at least N), which holds the scores where that saves new memory.
    """
    if query.ndim == 2:
        if room is not None and query.dtype == item.dtype == room.dtype:
            return torch.mm(query, item.T, out=room[:, : len(item)])
        return (query @ item.T).float()
    best = (query[:, 0] @ item.T).float()
    for interest in query.unbind(1)[1:]:
        torch.maximum(best, (interest @ item.T).float(), out=best)
    return best


def _exclude(scores: Tensor, excluded: Tensor) -> None:
    """Excluded rows are those of the block, and of other blocks, which have nothing here."""
    line, place = torch.nonzero((excluded >= 0) & (excluded < scores.shape[1]), as_tuple=True)
    scores[line, excluded[line, place]] = -torch.inf
