"""Calibration by hand."""

import math

import numpy as np
import pytest

from towers.data.histories import Histories
from towers.data.schema import ITEMS, table
from towers.errors import QueryError
from towers.evaluation.calibration import genre_shares, miscalibration, shown_mix, wanted_mix

THREE = table(
    ITEMS,
    {
        "item_id": ["a", "b", "c"],
        "title": ["A", "B", "C"],
        "genres": [["Crime"], ["Crime", "Drama"], None],
    },
)


def test_a_title_is_of_its_genres_in_equal_parts_and_one_without_is_of_none() -> None:
    assert genre_shares(THREE).tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]]


def test_the_wanted_mix_weighs_events_and_the_shown_one_places() -> None:
    shares = genre_shares(THREE)
    none = np.full(2, np.nan, np.float32)
    history = Histories(
        np.array([0, 2, 2]), np.array([0, 1]), np.zeros(2, np.int64), none, np.array([3, 1], np.float32)
    )
    assert wanted_mix(history, shares).tolist() == [[0.875, 0.125, 0], [0, 0, 0]]
    shown = shown_mix(np.array([[1, 2, 0], [2, -1, -1]]), 2, shares)
    assert shown.tolist() == [[0.25, 0.25, 0.5], [0, 0, 1]]


def test_miscalibration_is_the_divergence_of_stecks_paper() -> None:
    wanted = np.array([[0.7, 0.3], [0.7, 0.3], [0.0, 0.0]])
    shown = np.array([[1.0, 0.0], [0.7, 0.3], [1.0, 0.0]])
    found = miscalibration(wanted, shown)
    by_hand = 0.7 * math.log(0.7 / (0.99 + 0.007)) + 0.3 * math.log(0.3 / 0.003)
    assert found[0] == pytest.approx(by_hand)
    assert found[1] == pytest.approx(0.0, abs=1e-15)
    assert math.isnan(found[2])


def test_places_and_alpha_out_of_range_are_refused() -> None:
    shares = genre_shares(THREE)
    with pytest.raises(QueryError, match="k = 4"):
        shown_mix(np.array([[0, 1, 2]]), 4, shares)
    with pytest.raises(QueryError, match="alpha = 0"):
        miscalibration(shares, shares, 0.0)
