"""Matches of a text → the best of them in order: by text, then by who asks, and beside those of a vector.

What fits a title by its spelling stands first. The others can be fused with what a vector of the text finds.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.search.lexical import Matches
from retrieval.search.titles import Fit

MOST_ORDERED = 1000
"""So many matches, or k where it is more, are put in the order of who asks: the best, the most popular."""

# Reciprocal rank fusion: the damping that its authors found to matter little, doi:10.1145/1571941.1572114.
_DAMPING = 60.0

Liking = Callable[[Int64[np.ndarray, " n"]], Float32[np.ndarray, " n"]]
"""Rows → how much who asks likes each; higher is more."""


def best_first(
    matches: Matches,
    k: int,
    place: Int64[np.ndarray, " N"],
    liking: Liking | None = None,
    dense: Int64[np.ndarray, " d"] | None = None,
) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]:
    """Rows and scores of the best k matches: by score, then by liking, then by popularity.

    place: of each of N titles by popularity, 0 the most popular. dense: rows that a vector of the text finds,
    best first; what is not spelled by the text is then scored by reciprocal rank in both, 0 to 1:
    Σ (damping + 1) / (damping + rank) / 2, equal matches of the text having one rank.
    """
    if dense is not None:
        matches = fused(matches, dense)
    row, score = _enough(matches, max(k, MOST_ORDERED), place)
    liked = np.zeros(len(row), np.float32) if liking is None or len(row) == 0 else liking(row)
    order = np.lexsort((place[row], -liked, -score))[:k]
    return row[order], score[order]


def fused(matches: Matches, dense: Int64[np.ndarray, " d"]) -> Matches:
    """The matches and what a vector finds, scored by reciprocal rank; what the text spells as it was."""
    spelled = matches.fit > Fit.ALIKE
    dense = dense[~np.isin(dense, matches.row[spelled])]
    row = np.union1d(matches.row, dense)
    score = np.zeros(len(row), np.float64)
    # Equal scores have the best rank of them.
    alike = -np.unique(-matches.score[~spelled])
    rank = np.searchsorted(-alike, -matches.score[~spelled])
    score[np.searchsorted(row, matches.row[~spelled])] += _share(rank)
    score[np.searchsorted(row, dense)] += _share(np.arange(len(dense)))
    fit = np.zeros(len(row), np.int64)
    own = np.searchsorted(row, matches.row[spelled])
    score[own], fit[own] = matches.score[spelled], matches.fit[spelled]
    return Matches(row, score.astype(np.float32), fit)


def _share(rank: np.ndarray) -> np.ndarray:
    """What a rank from 0 adds."""
    share: np.ndarray = (_DAMPING + 1) / (_DAMPING + 1 + rank) / 2
    return share


def _enough(matches: Matches, most: int, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best `most` matches by score and popularity, in any order."""
    row, score = matches.row, matches.score
    if len(row) <= most:
        return row, score
    least = np.partition(score, len(score) - most)[len(score) - most]
    above, at = np.flatnonzero(score > least), np.flatnonzero(score == least)
    missing = most - len(above)
    if len(at) > missing:
        at = at[np.argpartition(place[row[at]], missing - 1)[:missing]]
    kept = np.concatenate([above, at])
    return row[kept], score[kept]
