"""The exact answer of a pair of towers: what an index approximates, evaluated beside it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from towers.data.histories import Histories
from towers.errors import IndexBuildError, QueryError
from towers.recommender import PAD, Queries, Rankings, check_history, check_k
from towers.topk import topk

# Queries ranked at once: bounds the padded histories and the encoder's activations.
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class ExactRecommender:
    """A Recommender by exact inner product over the whole catalogue, the own history left out.

    encode: Queries → float32 (Q, D), the query vectors, or (Q, K, D), the best of K interests counting for
        each item; called on at most 1,024 queries at a time.
    item_vectors: float32 (N, D), in catalogue row order.
    device: where scores are computed; a copy of the vectors is held there.
    there: bool (N,), the items that may be answered at all; all where None.
    Its metrics less those of the served Retriever are the loss from approximate search. Raises
    IndexBuildError on item vectors, QueryError on query vectors, that are not finite or of another width.
    """

    encode: Callable[[Queries], Float32[np.ndarray, "Q *K D"]]
    item_vectors: Float32[np.ndarray, "N D"]
    device: str | torch.device = "cpu"
    there: Bool[np.ndarray, " N"] | None = None
    _item: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_item", torch.from_numpy(self.item_vectors).to(self.device))
        num_bad = int(np.sum(~np.isfinite(self.item_vectors).all(axis=1)))
        if num_bad:
            raise IndexBuildError(f"item vectors: {num_bad} of {len(self.item_vectors)} are not finite")

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        # The copy on the device is made again: stored, and weighed, are the vectors once.
        return ExactRecommender, (self.encode, self.item_vectors, self.device, self.there)

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items of highest inner product per query, ties by row."""
        check_k(k)
        check_history(queries.history, len(self.item_vectors))
        item_row = np.full((len(queries), k), PAD, dtype=np.int64)
        score = np.full((len(queries), k), -np.inf, dtype=np.float32)
        there = None if self.there is None else torch.from_numpy(self.there).to(self.device)
        for start in range(0, len(queries), _BATCH):
            batch = queries.select(np.arange(start, min(start + _BATCH, len(queries))))
            vectors = torch.from_numpy(self._vectors(batch)).to(self.device)
            excluded = torch.from_numpy(padded_items(batch.history)).to(self.device)
            best, rows = topk(vectors, self._item, k, excluded=excluded, allowed=there)
            part = slice(start, start + len(batch))
            item_row[part], score[part] = rows.cpu().numpy(), best.cpu().numpy()
        return Rankings(item_row, score)

    def _vectors(self, queries: Queries) -> Float32[np.ndarray, "Q *K D"]:
        vectors = self.encode(queries)
        expected = (len(queries), self.item_vectors.shape[1])
        if vectors.ndim not in (2, 3) or (len(vectors), vectors.shape[-1]) != expected:
            raise QueryError(
                f"encode: query vectors are {vectors.shape}; expected {expected}, or several interests each"
            )
        if not np.isfinite(vectors).all():
            raise QueryError("encode: query vectors are not finite; the model diverged or its input is bad")
        return np.ascontiguousarray(vectors)


def padded_items(history: Histories) -> Int64[np.ndarray, "Q X"]:
    """The item rows of each history, PAD behind; as wide as the longest."""
    lengths = history.lengths
    padded = np.full((len(history), int(lengths.max(initial=0))), PAD, dtype=np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = history.item_row
    return padded
