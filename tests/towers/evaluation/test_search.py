"""Measures of search against numbers worked out by hand."""

import math

import numpy as np
import pytest

from towers.errors import QueryError
from towers.evaluation.search import graded_ndcg, search_metrics
from towers.recommender import PAD

ANSWERS = np.array([[4, 2, 9], [7, PAD, PAD], [PAD, PAD, PAD], [1, 2, 3]])


def test_graded_gain_is_that_of_the_formula() -> None:
    grades = [{2: 3, 4: 1, 8: 4}, {7: 2}, {1: 1}, {3: 4, 9: 0}]
    log3, log4 = math.log2(3), 2.0
    expected = [
        (1 + 7 / log3) / (15 + 7 / log3 + 1 / log4),  # gains 1, 7, 0 of 15, 7, 1
        1.0,
        0.0,
        (15 / log4) / 15,
    ]
    np.testing.assert_allclose(graded_ndcg(ANSWERS, grades, 3), expected)
    assert graded_ndcg(ANSWERS[:1], grades[:1], 1)[0] == pytest.approx(1 / 15)


def test_judgments_that_nothing_can_fulfil_are_refused() -> None:
    with pytest.raises(QueryError, match="query 1: no grade is above 0"):
        graded_ndcg(ANSWERS[:2], [{4: 1}, {7: 0}], 3)
    with pytest.raises(QueryError, match="2 queries for 4 answers"):
        graded_ndcg(ANSWERS, [{4: 1}, {7: 1}], 3)


def test_success_rank_precision_and_empty_answers() -> None:
    found = search_metrics(ANSWERS, [[2, 9], [8], [5], [1]], ks=(1, 3))
    assert found["success@1"].tolist() == [0, 0, 0, 1]
    assert found["success@3"].tolist() == [1, 0, 0, 1]
    assert found["mrr@3"].tolist() == [0.5, 0, 0, 1]
    np.testing.assert_allclose(found["precision@3"], [2 / 3, 0, 0, 1 / 3])
    assert found["zero_results"].tolist() == [0, 0, 1, 0]
