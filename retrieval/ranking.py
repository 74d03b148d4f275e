"""The answer to one request."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from retrieval.search.understanding import Understood
from towers.recommender import Degraded


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The answer to one request, best first; iterates over (item_id, score) pairs.

    item_id: ids of the catalogue, none twice. score: float32 (n,), higher is better. release_id: what it was
    answered from. degraded: why it is not the answer asked for; None where it is. num_unknown_items: ids of
    the history given that the catalogue lacks; they were left out. understood: what a text was taken to say.
    """

    item_id: tuple[str, ...]
    score: Float32[np.ndarray, " n"]
    release_id: str
    degraded: Degraded | None = None
    num_unknown_items: int = 0
    understood: tuple[Understood, ...] = ()

    def __len__(self) -> int:
        return len(self.item_id)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return zip(self.item_id, self.score.tolist(), strict=True)
