"""From a score for every item to Rankings: the last step of every rung that scores the whole catalogue."""

import numpy as np
import torch
from jaxtyping import Float32

from towers.data.histories import Histories
from towers.recommender import PAD, Rankings, check_history
from towers.topk import ordered_topk


def rank_scores(scores: Float32[np.ndarray, "Q N"], history: Histories, k: int) -> Rankings:
    """The k highest scored items per query, its own history left out, ties by row.

    scores: float32 (Q, N), overwritten at the history. An item scored NaN or -inf is not ranked.
    """
    num_queries, num_items = scores.shape
    check_history(history, num_items)
    scores[history.profile_rows(), history.item_row] = -np.inf
    item_row = np.full((num_queries, k), PAD, dtype=np.int64)
    score = np.full((num_queries, k), -np.inf, dtype=np.float32)
    width = min(k, num_items)
    if width and num_queries:
        best, column = ordered_topk(torch.from_numpy(scores), width)
        item_row[:, :width], score[:, :width] = column.numpy(), best.numpy()
    return Rankings(item_row, score)
