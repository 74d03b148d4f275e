"""Popularity by country against its formula in fractions."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from towers.errors import ConfigError, QueryError
from towers.ladder.country import CountrySettings, fit_country_popular
from towers.ladder.heuristics import fit_popular
from towers.recommender import Queries

NUM_ITEMS = 5
# Item 0 is watched in SE, item 1 in DK alone, item 2 a little everywhere.
LOG = watched([[0, 2], [0], [0], [1, 2], [1], [4]])
COUNTRY = np.array(["SE", "SE", "SE", "DK", "DK", ""])


def asked_from(countries: list[str], known: list[list[int]] | None = None) -> Queries:
    return replace(asked(known or [[]] * len(countries)), country=np.array(countries))


def test_each_country_is_shown_its_own_first() -> None:
    rung = fit_country_popular(LOG, NUM_ITEMS, COUNTRY, CountrySettings(0.1))
    rankings = rung.rank(asked_from(["SE", "DK", "DK"], [[], [], [1]]), 4)
    assert rankings.item_row.tolist() == [[0, 2, 1, 4], [1, 2, 0, 4], [2, 0, 4, 3]]


def test_the_score_is_the_share_shrunk_towards_the_whole() -> None:
    rung = fit_country_popular(LOG, NUM_ITEMS, COUNTRY, CountrySettings(6.0))
    # DK has three of eight events: item 1 twice of twice, item 2 once of twice, item 0 never of three times.
    expected = [(2 + 6 * 2 / 8) / 9, (1 + 6 * 2 / 8) / 9, (0 + 6 * 3 / 8) / 9, (0 + 6 * 1 / 8) / 9]
    rankings = rung.rank(asked_from(["DK"]), 4)
    assert rankings.item_row.tolist() == [[1, 2, 0, 4]]
    np.testing.assert_allclose(rankings.score[0], expected, rtol=1e-6)


def test_a_country_of_few_events_is_answered_as_the_whole() -> None:
    rung = fit_country_popular(LOG, NUM_ITEMS, COUNTRY, CountrySettings(1000.0))
    assert rung.rank(asked_from(["DK"]), 1).item_row.tolist() == [[0]]


def test_an_unknown_country_is_answered_as_all_together() -> None:
    rung = fit_country_popular(LOG, NUM_ITEMS, COUNTRY)
    queries = asked_from(["", "NO", "AA", "ZZ"], [[], [0], [], [2]])
    expected = fit_popular(LOG, NUM_ITEMS).rank(queries, NUM_ITEMS).item_row
    np.testing.assert_array_equal(rung.rank(queries, NUM_ITEMS).item_row, expected)


@settings(deadline=None)
@given(
    log=st.lists(
        st.tuples(st.sampled_from(["", "A", "B"]), st.lists(st.integers(0, NUM_ITEMS - 1), max_size=6)),
        max_size=6,
    ),
    known=st.lists(st.integers(0, NUM_ITEMS - 1), max_size=3),
    country=st.sampled_from(["", "A", "B", "C"]),
    prior=st.sampled_from([0.25, 1.0, 7.0]),
    k=st.integers(0, 6),
)
def test_it_is_a_sort_by_the_shrunk_share(
    log: list[tuple[str, list[int]]], known: list[int], country: str, prior: float, k: int
) -> None:
    train = watched([profile for _, profile in log])
    rung = fit_country_popular(
        train, NUM_ITEMS, np.array([place for place, _ in log], dtype="<U2"), CountrySettings(prior)
    )
    row = rung.rank(asked_from([country], [known]), k).item_row[0].tolist()
    everywhere = [item for _, profile in log for item in profile]
    there = [item for place, profile in log if place and place == country for item in profile]

    def score(item: int) -> Fraction:
        whole = Fraction(everywhere.count(item), max(1, len(everywhere)))
        return (there.count(item) + Fraction(prior) * whole) / (len(there) + Fraction(prior))

    def value(item: int) -> tuple[float, int, int]:
        # Fractions that are equal may not be so in floating point: only those of equal counts must be.
        return -round(float(score(item)), 12), -everywhere.count(item), item

    best = sorted(set(range(NUM_ITEMS)) - set(known), key=value)[:k]
    found = [item for item in row if item >= 0]
    assert len(found) == len(best) == len(set(found) - set(known))
    assert [round(float(score(item)), 12) for item in found] == [
        round(float(score(item)), 12) for item in best
    ]


def test_as_many_countries_as_profiles_are_expected() -> None:
    with pytest.raises(QueryError, match="2 countries for 6 profiles"):
        fit_country_popular(LOG, NUM_ITEMS, COUNTRY[:2])
    with pytest.raises(ConfigError, match=r"country\.prior_events: 0\.0"):
        fit_country_popular(LOG, NUM_ITEMS, COUNTRY, CountrySettings(0.0))
