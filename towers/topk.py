"""Exact top-k in torch, CPU and GPU: the one oracle every index and every metric is held against."""

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from towers.errors import QueryError

# Scores of one chunk of queries are held at once; this bounds them (64 Mi scores are 256 MiB).
_MAX_SCORES = 1 << 26


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
    step = max(1, _MAX_SCORES // num_items)
    for start in range(0, len(query), step):
        stop = min(start + step, len(query))
        scores = _scores(query[start:stop], item)
        if allowed is not None:
            scores.masked_fill_(~allowed, -torch.inf)
        if excluded is not None:
            _exclude(scores, excluded[start:stop])
        best, best_row = ordered_topk(scores, min(k, num_items))
        score[start:stop, : best.shape[1]] = best
        row[start:stop, : best.shape[1]] = best_row
    return score, row


def ordered_topk(
    scores: Float32[Tensor, "Q N"], k: int
) -> tuple[Float32[Tensor, "Q K"], Int64[Tensor, "Q K"]]:
    """The k highest scores per line and their columns, ties by column; -inf and NaN give column -1.

    Needs 1 <= k <= N; `topk` takes any k.
    """
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


def _scores(query: Tensor, item: Tensor) -> Tensor:
    """Of every item, that of the best interest: one interest's scores beside the best so far are held."""
    if query.ndim == 2:
        return (query @ item.T).float()
    best = (query[:, 0] @ item.T).float()
    for interest in query.unbind(1)[1:]:
        torch.maximum(best, (interest @ item.T).float(), out=best)
    return best


def _exclude(scores: Tensor, excluded: Tensor) -> None:
    line, place = torch.nonzero(excluded >= 0, as_tuple=True)
    scores[line, excluded[line, place]] = -torch.inf
