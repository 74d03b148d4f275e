"""Queries of several interests, searched by one vector each: a title's score is that of the best of them."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.index.spec import best_first, check_query
from towers.errors import QueryError

Find = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""Scores and rows (Q, depth) of queries (Q, D), as `Index.search` gives them."""


def check_queries(query: Float32[np.ndarray, "..."], k: int, dimension: int) -> None:
    """Raises QueryError unless these are queries (Q, D), or (Q, I, D) of I >= 1 interests, for an index."""
    if query.ndim == 3 and query.shape[1] == 0:
        raise QueryError(f"index: queries have the shape {query.shape}; expected one interest at least")
    check_query(query.reshape(-1, query.shape[-1]) if query.ndim == 3 else query, k, dimension)


def best_of(
    find: Find, query: Float32[np.ndarray, "Q *I D"], depth: int
) -> tuple[Float32[np.ndarray, "Q W"], Int64[np.ndarray, "Q W"]]:
    """What is found for each query, best first, no row twice: W = depth, or I · depth of I interests.

    find: called once, with the interests of a query one after another. Each is searched to the whole depth,
    and a vector keeps the best score under which it was found.
    The first `depth` places are those of one exact search for the largest inner product of all interests,
    where each of these searches is exact: who is among the best of a query has no more above it in the answer
    to its own best interest, and whom only another interest has found is not among them. Places that nothing
    fills hold row -1 and score -inf.
    """
    if query.ndim == 2:
        return find(query, depth)
    num_queries, num_interests, dim = query.shape
    score, row = find(query.reshape(-1, dim), depth)
    width = num_interests * depth
    score, row = best_first(score.reshape(num_queries, width), row.reshape(num_queries, width))
    # By row, each row's own in their order: all but the first are copies.
    order = np.argsort(row, axis=1, kind="stable")
    by_row = np.take_along_axis(row, order, axis=1)
    copy = np.zeros(row.shape, bool)
    np.put_along_axis(copy, order[:, 1:], by_row[:, 1:] == by_row[:, :-1], axis=1)
    return best_first(score, np.where(copy, -1, row))
