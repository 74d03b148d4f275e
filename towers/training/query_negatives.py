"""Which titles a step scores: all, or of a large catalogue those that are easily confused and a sample."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from towers.data.words import words_of

_LIKE_EACH = 4


class Scored:
    """Draws the titles that stand against each other in a step, of the N of an items table.

    Up to `most`, all of them stand in every step. Of more: those that the step asks for, for each up to four
    that share a person, or the first word that is not short, with it, and others drawn alike.
    """

    def __init__(self, items: pa.Table, most: int) -> None:
        self._num_items, self._most = items.num_rows, most
        self._alike: dict[int, list[list[int]]] = {}
        if self._num_items > most:
            self._alike = _alike(items)

    def draw(
        self, target: Int64[np.ndarray, " B"], rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " C"], Float32[np.ndarray, " C"]]:
        """Rows in rising order, the targets among them; and what is added to the score of each.

        Z = Σ_fixed e^s + (N − F) / M Σ_drawn e^s has the mean of the sum over all titles: the F that are
        asked for or alike stand for themselves, each of the M drawn of the others for (N − F) / M, so the
        logarithm of that is added to its score.
        """
        if self._num_items <= self._most:
            return np.arange(self._num_items), np.zeros(self._num_items, np.float32)
        like = [
            group[int(rng.integers(len(group)))]
            for row in target.tolist()
            for group in self._alike.get(row, [])[:_LIKE_EACH]
        ]
        fixed = np.unique(np.concatenate([target, np.array(like, np.int64)]))
        drawn = np.setdiff1d(rng.choice(self._num_items, self._most, replace=False), fixed)
        row = np.concatenate([fixed, drawn])
        added = np.zeros(len(row), np.float32)
        added[len(fixed) :] = np.log((self._num_items - len(fixed)) / max(1, len(drawn)))
        order = np.argsort(row)
        return row[order], added[order]


def _alike(items: pa.Table) -> dict[int, list[list[int]]]:
    """Of each title, the groups of others that have something of its name or people; the smallest first."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    table = items.select(["title", "cast", "directors"]).to_pylist()
    marks = [_marks(row) for row in table]
    for row, own in enumerate(marks):
        for mark in own:
            rows_of[mark].append(row)
    found = {}
    for row, own in enumerate(marks):
        groups = [rows_of[mark] for mark in own if len(rows_of[mark]) > 1]
        found[row] = sorted(groups, key=len)
    return found


def _marks(row: dict[str, object]) -> list[str]:
    long = [word for word in words_of(str(row["title"])) if len(word) > 3]
    people = [*(row["cast"] or ()), *(row["directors"] or ())]  # type: ignore[misc]
    return list(
        dict.fromkeys([*(f"title {word}" for word in long[:1]), *(f"person {name}" for name in people)])
    )
