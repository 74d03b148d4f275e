"""Prefixes of vectors, worked out by hand."""

import numpy as np
import pytest

from tests.towers.evaluation.questions import histories
from towers.evaluation.cut import cut
from towers.evaluation.exact import ExactRecommender
from towers.evaluation.prefixes import by_prefix
from towers.recommender import Queries


def test_a_prefix_has_unit_length_again_and_zeros_stay_zeros() -> None:
    vectors = np.array([[[3.0, 4.0, 12.0], [0.0, 0.0, 1.0]]], np.float32)
    np.testing.assert_allclose(cut(vectors, 2), [[[0.6, 0.8], [0.0, 0.0]]], rtol=1e-6)
    assert cut(vectors, 2).dtype == np.float32


def test_titles_are_ranked_by_their_first_dimensions_alone() -> None:
    items = np.array([[0.6, 0.0, 0.8], [0.8, 0.6, 0.0], [0.0, 1.0, 0.0]], np.float32)

    def encode(queries: Queries) -> np.ndarray:
        return np.tile(np.array([[0.6, 0.48, 0.64]], np.float32), (len(queries), 1))

    asked = Queries(histories([[]]), np.zeros(1, np.int64), np.array([""]))
    exact = ExactRecommender(encode, items)
    # Whole: 0.872, 0.768, 0.48. Of two dimensions, (1, 0), (0.8, 0.6), (0, 1) and (0.781, 0.625).
    assert exact.rank(asked, 3).item_row.tolist() == [[0, 1, 2]]
    of_two = by_prefix(exact, 2).rank(asked, 3)
    assert of_two.item_row.tolist() == [[1, 0, 2]]
    assert of_two.score[0].tolist() == pytest.approx([0.99951, 0.78087, 0.62470], abs=1e-4)
