"""How good the first dimensions of vectors are by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from towers.data.split import HeldOut
from towers.evaluation.cut import cut
from towers.evaluation.evaluate import evaluate
from towers.evaluation.exact import ExactRecommender
from towers.recommender import Queries


@dataclass(frozen=True, slots=True)
class PrefixQuality:
    """Means over all questions, the whole catalogue ranked by the first `dim` dimensions."""

    dim: int
    ndcg_at_10: float
    recall_at_10: float


def by_prefix(exact: ExactRecommender, dim: int) -> ExactRecommender:
    """The same towers, searched by the first `dim` dimensions of both sides' vectors.

    The towers themselves still read whole vectors: those of what was watched.
    """

    def encode(queries: Queries) -> np.ndarray:
        return cut(exact.encode(queries), dim)

    return replace(exact, encode=encode, item_vectors=cut(exact.item_vectors, dim))


def prefix_quality(
    exact: ExactRecommender, held_out: HeldOut, dims: Sequence[int]
) -> tuple[PrefixQuality, ...]:
    """N@10 and R@10 of each prefix, in the order given. Raises QueryError where there are no questions."""
    rows = []
    for dim in dims:
        judged = evaluate(
            by_prefix(exact, dim),
            held_out,
            num_items=len(exact.item_vectors),
            ks=(10,),
            name=f"{dim} dimensions",
            show_progress=False,
        )
        ndcg, recall = (float(judged.per_query(metric).mean()) for metric in ("ndcg@10", "recall@10"))
        rows.append(PrefixQuality(dim, ndcg, recall))
    return tuple(rows)
