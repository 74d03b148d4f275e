"""Answers by inner product: an encoder, item vectors and the index over them."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.completion import complete_topk
from retrieval.index.allowed import Allowed
from retrieval.index.operating import OperatingCurve
from retrieval.index.spec import DepthIndex, Index
from retrieval.index.updates import UpdatedIndex, num_rows_of
from retrieval.query_vectors import QueryVectors
from retrieval.stages import Stage, stage
from towers.errors import QueryError, ReleaseError, SkewError
from towers.evaluation.exact import ExactRecommender
from towers.recommender import Queries, Rankings, check_history, check_k


@runtime_checkable
class Encoder(Protocol):
    """Queries → vectors of `dimension`, one or K of them, as `retrieval.encoder.QueryEncoder` gives them.

    profile_columns: what it reads of a profile beside the country.
    """

    dimension: int
    profile_columns: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model: equal fingerprints are the same one."""
        ...

    def encode(self, queries: Queries) -> Float32[np.ndarray, "Q *K D"]:
        """A vector per query, or K interests of which the best counts; an empty history is answered too."""
        ...


@dataclass(frozen=True, slots=True)
class VectorAnswers:
    """A Recommender by the index over the vectors of N rows; ReleaseError where the parts do not fit.

    Rows whose items were removed since the index was built have their old vectors, and no answer holds them.

    curve: operating points of the index, where it was compiled to have several. model: the fingerprint of
    the model that the vectors are of, "" where it is the encoder's by their making; SkewError where the
    encoder is of another.
    """

    vectors: Float32[np.ndarray, "N D"]
    index: Index
    encoder: Encoder
    curve: OperatingCurve | None = None
    model: str = ""

    def __post_init__(self) -> None:
        if self.model not in ("", self.encoder.fingerprint):
            raise SkewError(
                f"release: item vectors of the model {self.model[:12]} and an encoder of "
                f"{self.encoder.fingerprint[:12]}; expected one model"
            )
        num_rows = num_rows_of(self.index)
        if len(self.vectors) != num_rows:
            raise ReleaseError(
                f"release: {len(self.vectors)} vectors and {num_rows} in the index; expected as many"
            )
        widths = (self.vectors.shape[1], self.index.dimension, self.encoder.dimension)
        if len(set(widths)) != 1:
            raise ReleaseError(f"release: vectors, index and encoder have dimensions {widths}; expected one")

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.vectors)

    def exact(self) -> ExactRecommender:
        """The same encoder and vectors searched exactly: what the index approximates."""
        there = None
        if isinstance(self.index, UpdatedIndex):
            there = np.zeros(self.num_items, bool)
            there[self.index.rows()] = True
        return ExactRecommender(self.encoder.encode, self.vectors, there=there)

    def encode(self, queries: Queries) -> QueryVectors:
        """The vectors of the queries, with the fingerprint of the model that they are of."""
        check_history(queries.history, self.num_items)
        with stage(Stage.ENCODE):
            return QueryVectors(self.encoder.encode(queries), self.encoder.fingerprint)

    def rank(self, queries: Queries, k: int, allowed: Allowed, recall: float | None = None) -> Rankings:
        """The best k items per query that it is allowed; an empty history is answered from the prior.

        recall: searches as far as the operating point for it; QueryError where the index has none.
        """
        check_k(k)
        return self.nearest(self.encode(queries), k, allowed, recall)

    def nearest(self, query: QueryVectors, k: int, allowed: Allowed, recall: float | None = None) -> Rankings:
        """As `rank`, of queries that were encoded before; SkewError where another model encoded them."""
        with stage(Stage.SEARCH):
            vector = query.of(self.encoder.fingerprint)
            if len(vector) != len(allowed) or vector.shape[-1] != self.vectors.shape[1]:
                raise QueryError(
                    f"query vectors {vector.shape} for {len(allowed)} queries; expected a line each, of "
                    f"{self.vectors.shape[1]} numbers"
                )
            score, row = complete_topk(self._index_at(recall), self.vectors, vector, k, allowed)
            return Rankings(row, score)

    def _index_at(self, recall: float | None) -> Index:
        if recall is None:
            return self.index
        if isinstance(recall, bool) or not isinstance(recall, float | int) or not recall > 0.0:
            raise QueryError(f"recall = {recall!r}: expected a share, above 0 and below 1")
        updated = self.index if isinstance(self.index, UpdatedIndex) else None
        built = self.index if updated is None else updated.base
        if self.curve is None or not isinstance(built, DepthIndex):
            raise QueryError(f"recall = {recall}: the index has one depth of search; expected none")
        point = self.curve.at(recall)
        if point is None:
            reached = max((each.target for each in self.curve.points), default=0.0)
            raise QueryError(f"recall = {recall}: the index reaches {reached:g}; expected at most that")
        return built.to(point.stop) if updated is None else updated.to(point.stop)

    def similar(self, row: int, k: int, allowed: Allowed) -> Rankings:
        """The k items of highest inner product with this one that are allowed: one line."""
        score, best = complete_topk(self.index, self.vectors, self.vectors[[row]], k, allowed)
        return Rankings(best, score)

    def liking(self, query: Queries, rows: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        """How much one query likes each of these items, watched or not; higher is more."""
        return self.liked(self.encoder.encode(query), rows)

    def liked(
        self, vector: Float32[np.ndarray, "1 *K D"], rows: Int64[np.ndarray, " n"]
    ) -> Float32[np.ndarray, " n"]:
        """As `liking`, of a query that is encoded already."""
        liked: np.ndarray = (self.vectors[rows] @ np.atleast_2d(vector[0]).T).max(axis=1)
        return liked

    def scores(self, queries: Queries, row: int) -> Float32[np.ndarray, " Q"]:
        """The score of one item for each query, watched or not."""
        check_history(queries.history, self.num_items)
        score: np.ndarray = self.encoder.encode(queries) @ self.vectors[row]
        return score if score.ndim == 1 else score.max(axis=1)
