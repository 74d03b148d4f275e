"""What a recommender shows as a whole: how well it is calibrated by genre, beside how good it is."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from towers.data.split import HeldOut
from towers.errors import QueryError
from towers.evaluation.calibration import genre_shares, miscalibration, shown_mix, wanted_mix
from towers.evaluation.concentration import gini
from towers.evaluation.metrics import find_hits, ndcg
from towers.recommender import PAD, Queries, Recommender

_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Mix:
    """Means over the questions, at k places.

    divergence: of the genres shown from those of the history, in nats, over the questions that have one.
    ndcg: N@k. gini: of how often each title is shown.
    """

    divergence: float
    ndcg: float
    gini: float


def mix_of(recommender: Recommender, held_out: HeldOut, items: pa.Table, k: int) -> Mix:
    """The mix of a recommender's answers to held-out questions. Raises QueryError without a history."""
    queries = Queries(held_out.history, held_out.time_seconds, held_out.country, held_out.profiles)
    known = held_out.history.lengths > 0
    if not known.any():
        raise QueryError(f"mix: none of {len(held_out)} questions has a history; expected at least one")
    row = np.concatenate(
        [
            recommender.rank(queries.select(np.arange(start, min(start + _BATCH, len(queries)))), k).item_row
            for start in range(0, len(queries), _BATCH)
        ]
    )
    shares = genre_shares(items)
    divergence = miscalibration(wanted_mix(held_out.history, shares), shown_mix(row, k, shares))
    hits = find_hits(row, held_out.target_offset, held_out.target_row)
    return Mix(
        float(divergence[known].mean()),
        float(ndcg(hits, k).mean()),
        gini(np.bincount(row[row != PAD], minlength=items.num_rows)),
    )
