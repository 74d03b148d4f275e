"""How well searches are answered: graded gain, success and reciprocal rank, one value per query.

Ranks count from 1; an answer is a row of item rows, best first, PAD behind its end.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from towers.errors import QueryError
from towers.evaluation.metrics import find_hits, reciprocal_rank
from towers.recommender import PAD


def graded_ndcg(
    item_row: Int64[np.ndarray, "Q K"], grades: Sequence[Mapping[int, int]], k: int
) -> Float64[np.ndarray, " Q"]:
    """N@k per query with graded judgments: the gain of a title is 2^grade − 1, of one not judged 0.

    N@k = Σ_{r ≤ k} gain_r / log2(r + 1) over that of the judged titles in the best order. grades: of each
    query, item row → grade, 0 or more. Raises QueryError where a query has no grade above 0. Source: Burges
    et al. 2005, Learning to rank using gradient descent, doi:10.1145/1102351.1102363.
    """
    if len(grades) != len(item_row):
        raise QueryError(f"judgments of {len(grades)} queries for {len(item_row)} answers; expected as many")
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    value = np.zeros(len(item_row))
    for query, judged in enumerate(grades):
        ideal = np.sort(2.0 ** np.array(list(judged.values())) - 1.0)[::-1][:k]
        best = float(ideal @ discount[: len(ideal)])
        if not best > 0.0:
            raise QueryError(f"judgments of query {query}: no grade is above 0; expected one that is")
        shown = item_row[query, :k].tolist()
        gain = np.array([2.0 ** judged.get(row, 0) - 1.0 if row != PAD else 0.0 for row in shown])
        value[query] = float(gain @ discount[: len(gain)]) / best
    return value


def search_metrics(
    item_row: Int64[np.ndarray, "Q K"], targets: Sequence[Sequence[int]], ks: Sequence[int] = (1, 10)
) -> dict[str, Float64[np.ndarray, " Q"]]:
    """success@k, mrr@k of the last k, precision@k of it and zero_results, each 0 to 1 per query.

    targets: of each query, the item rows that answer it, each once. success@k: 1 where one of them stands in
    the top k. precision@k: the share of the answer's first k that answer it, 0 of an empty one.
    zero_results: 1 where the answer is empty.
    """
    offset = np.cumsum([0, *map(len, targets)])
    hits = find_hits(item_row, offset, np.array([row for one in targets for row in one], np.int64))
    values: dict[str, np.ndarray] = {}
    for k in ks:
        in_top = hits.query[hits.rank <= k]
        values[f"success@{k}"] = np.bincount(in_top, minlength=len(item_row)).clip(max=1).astype(np.float64)
    shown = (item_row[:, : ks[-1]] != PAD).sum(axis=1)
    values[f"mrr@{ks[-1]}"] = reciprocal_rank(hits, ks[-1])
    values[f"precision@{ks[-1]}"] = np.bincount(in_top, minlength=len(item_row)) / np.maximum(1, shown)
    values["zero_results"] = (shown == 0).astype(np.float64)
    return values
