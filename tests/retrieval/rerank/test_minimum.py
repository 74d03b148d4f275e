"""Places kept for new and local titles, beside all lists there are."""

from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.rerank.minimum import MinimumExposure, MinimumSettings
from retrieval.rerank.rerank import Reranker
from towers.data.histories import Histories
from towers.data.schema import ITEMS, table
from towers.errors import ConfigError
from towers.recommender import PAD, Degraded, Queries, Rankings

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def minimum(new: list[bool], local: list[bool], min_new: int, min_local: int) -> MinimumExposure:
    num = len(new)
    columns = {
        "item_id": [f"t{n}" for n in range(num)],
        "title": ["one"] * num,
        "released": [NOW - timedelta(days=7 if each else 700) for each in new],
        "countries": [["KR" if each else "US"] for each in local],
    }
    return MinimumExposure(table(ITEMS, columns), MinimumSettings(min_new=min_new, min_local=min_local))


def asked(country: str = "KR") -> Queries:
    return Queries(Histories.empty(1), np.array([int(NOW.timestamp())]), np.array([country]))


def answer(num: int, width: int) -> Rankings:
    """Titles 0 to num − 1 in that order."""
    row = np.full((1, width), PAD)
    row[0, :num] = np.arange(num)
    return Rankings(row, np.where(row == PAD, -np.inf, 9.0 - row).astype(np.float32))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_list_of_all_is_better(data: st.DataObject) -> None:
    num = data.draw(st.integers(0, 8))
    new, local = (data.draw(st.lists(st.booleans(), min_size=8, max_size=8)) for _ in range(2))
    floors, k = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4))), data.draw(st.integers(0, 6))
    found = minimum(new, local, *floors).rerank(asked(), answer(num, 8), k)

    def missing(rows: tuple[int, ...]) -> int:
        counts = (sum(new[each] for each in rows), sum(local[each] for each in rows))
        return sum(max(0, floor - count) for floor, count in zip(floors, counts, strict=True))

    def worth(rows: tuple[int, ...]) -> float:
        return float(sum(1.0 / np.log2(each + 2.0) for each in rows))

    size = min(k, num)
    shown = tuple(found.item_row[0, :size].tolist())
    every = list(combinations(range(num), size))
    best = min((missing(rows), -worth(rows)) for rows in every)
    assert missing(shown) == best[0]
    assert worth(shown) == pytest.approx(-best[1])
    assert list(shown) == sorted(set(shown))  # by score, none twice
    assert (found.item_row[0, size:] == PAD).all()
    assert found.item_row.shape == (1, k)
    assert (found.degraded == (Degraded.BELOW_FLOOR,)) is (missing(shown) > 0)


def test_a_planted_new_title_far_down_gets_its_place() -> None:
    reranker = minimum([False] * 7 + [True], [False] * 8, 1, 0)
    assert isinstance(reranker, Reranker)
    assert reranker.rerank(asked(), answer(8, 8), 3).item_row.tolist() == [[0, 1, 7]]


def test_without_a_floor_nothing_changes() -> None:
    reranker = minimum([False, True] * 4, [True, False] * 4, 0, 0)
    assert reranker.rerank(asked(), answer(8, 8), 3).item_row.tolist() == [[0, 1, 2]]


def test_what_is_local_is_so_to_who_asks() -> None:
    reranker = minimum([False] * 8, [False] * 7 + [True], 0, 1)
    assert reranker.rerank(asked("KR"), answer(8, 8), 2).item_row.tolist() == [[0, 7]]
    nowhere = reranker.rerank(asked(""), answer(8, 8), 2)
    assert nowhere.item_row.tolist() == [[0, 1]]
    assert nowhere.degraded == (Degraded.BELOW_FLOOR,)


def test_a_reason_that_stands_already_stays() -> None:
    candidates = answer(8, 8)
    candidates = Rankings(candidates.item_row, candidates.score, (Degraded.EMPTY_HISTORY,))
    found = minimum([False] * 8, [False] * 8, 1, 0).rerank(asked(), candidates, 2)
    assert found.degraded == (Degraded.EMPTY_HISTORY,)


def test_a_negative_floor_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"minimum\.min_new: -1 is out of range"):
        minimum([True], [True], -1, 0)
