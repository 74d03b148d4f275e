"""Whether an answer keeps the Recommender contract, so that an illegal one is never rewarded."""

import numpy as np

from towers.errors import QueryError
from towers.evaluation.metrics import in_ragged
from towers.recommender import PAD, Queries, Rankings


def check_answer(rankings: Rankings, queries: Queries, k: int, *, num_items: int, name: str) -> None:
    """Raises QueryError naming the recommender where an answer breaks the Recommender contract."""
    row, score = rankings.item_row, rankings.score
    if row.shape != (len(queries), k):
        raise QueryError(f"{name}: answered with shape {row.shape}; expected ({len(queries)}, {k})")
    filled = row != PAD
    ordered = np.sort(row, axis=1)
    history = queries.history
    faults = {
        f"an item row outside 0 to {num_items - 1}": filled & ((row < 0) | (row >= num_items)),
        "an item after an empty place": filled[:, 1:] & ~filled[:, :-1],
        "an item twice": (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PAD),
        "an item of the query's own history": in_ragged(row, history.offset, history.item_row),
        "an item scored NaN or -inf": filled & ~(score > -np.inf),
        "an empty place not scored -inf": ~filled & (score != -np.inf),
        "a score above the one before it": score[:, 1:] > score[:, :-1],
    }
    for fault, where in faults.items():
        num_queries = int(where.any(axis=1).sum())
        if num_queries:
            raise QueryError(f"{name}: {fault}, in {num_queries} of {len(queries)} answers; see Recommender")
