"""The recall of an index by slices, against counts by hand and worlds of known recall."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from retrieval.index.exact import ExactIndex
from retrieval.release.certificate import (
    CERTIFICATE_FILE,
    LEVEL,
    RecallSlice,
    certificate_view,
    certify,
    find,
    head_of,
    read_certificate,
    recall_interval,
    write_certificate,
)
from towers.errors import ReleaseError


class _Answers(ExactIndex):
    """An index that answers what it is told to."""

    def __init__(self, vectors: np.ndarray, row: list[list[int]]) -> None:
        super().__init__(vectors)
        self._row = np.array(row)

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(self._row.shape, np.float32), self._row


LINE = np.array([[6.0], [5.0], [4.0], [3.0], [2.0], [1.0]], np.float32)
UP = np.ones((2, 1), np.float32)


def test_slices_are_counted_by_hand() -> None:
    # The exact answer is rows 0, 1, 2 twice; of the first query row 1 is missed, of the second rows 0 and 2.
    found = find(_Answers(LINE, [[0, 2, 5], [1, 4, -1]]), LINE, UP, 3)
    num_events = np.array([0, 90, 1, 9, 0, 0])  # rows 0, 4, 5 are cold, row 1 is the head, 2 and 3 the tail
    certificate = certify(found, found, num_events, np.array([60, 2]))
    counted = {
        each.slice: (each.num_queries, each.num_wanted, each.recall and round(each.recall, 6))
        for each in certificate.slices
    }
    assert counted == {
        RecallSlice.ALL: (2, 6, 0.5),
        RecallSlice.COLD_ITEMS: (2, 2, 0.5),
        RecallSlice.TAIL_ITEMS: (2, 2, 0.5),
        RecallSlice.NEW_PROFILES: (2, 6, 0.5),
        RecallSlice.LONG_HISTORIES: (1, 3, round(2 / 3, 6)),
    }
    assert all(each.too_few for each in certificate.slices)


def test_an_item_that_ties_with_what_was_answered_in_its_place_is_not_missed() -> None:
    tied = np.array([[6.0], [5.0], [5.0], [5.0], [1.0]], np.float32)
    found = find(_Answers(tied, [[0, 3], [0, 4]]), tied, UP, 2)  # exact: rows 0 and 1
    assert found.hits.tolist() == [2, 1]
    assert found.wanted.tolist() == [[True, False], [True, True]]
    assert found.found.tolist() == [[True, False], [True, False]]


def test_the_head_is_the_fewest_titles_with_four_fifths_of_the_events() -> None:
    assert head_of(np.array([10, 50, 10, 30, 0])).tolist() == [False, True, False, True, False]
    assert not head_of(np.zeros(3, np.int64)).any()


def test_an_interval_of_independent_hits_is_wilsons() -> None:
    hits = np.repeat([1, 0], [81, 182])
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, 95 %.
    share, low, high = recall_interval(hits, np.ones(263, np.int64), level=0.95)
    assert (share, low, high) == pytest.approx((81 / 263, 0.2553, 0.3662), abs=5e-4)


def test_where_every_query_is_answered_alike_the_interval_is_that_of_so_many_queries() -> None:
    _, low, high = recall_interval(np.full(100, 20), np.full(100, 20), level=0.95)
    assert high == 1.0
    assert low == pytest.approx(100 / (100 + 1.984217**2), abs=1e-4)  # 100 of 100, by t of 99 degrees


@pytest.mark.parametrize("num_queries", [50, 150, 500])
def test_intervals_hold_the_recall_though_the_hits_of_a_query_go_together(num_queries: int) -> None:
    rng, held, below = np.random.default_rng(0), 0, 0
    for _ in range(1000):
        wanted = rng.integers(1, 20, num_queries)
        chance = rng.beta(4.5, 0.5, num_queries)  # mean 0.9: some queries are answered far worse
        _, low, high = recall_interval(rng.binomial(wanted, chance), wanted)
        held += low <= 0.9 <= high
        below += high < 0.9
    assert held / 1000 >= LEVEL - 0.015
    assert 4 * below / 1000 <= 0.05  # four slices that are just good enough: how often one is stopped


def test_a_certificate_is_read_back_and_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 4)).astype(np.float32)
    query = rng.standard_normal((60, 4)).astype(np.float32)
    found = find(ExactIndex(vectors), vectors, query, 10)
    certificate = certify(found, None, rng.integers(0, 9, 200), np.arange(60))
    assert read_certificate(tmp_path) is None
    write_certificate(certificate, tmp_path)
    assert read_certificate(tmp_path) == certificate
    console = Console(width=100, record=True)
    console.print(certificate_view(certificate))
    lines = {line[:15].strip(): line for line in console.export_text().splitlines()}
    assert "1.0000" in lines["all"]
    assert "too few to tell" not in lines["all"]
    assert lines["new profiles"].split()[2:] == ["0", "0", "–", "–", "too", "few", "to", "tell"]
    assert "too few to tell" in lines["long histories"]
    document = json.loads((tmp_path / CERTIFICATE_FILE).read_text())
    for change in ({"slices": 3}, {"slices": [{"slice": "all"}]}, {"k": None}):
        (tmp_path / CERTIFICATE_FILE).write_text(json.dumps(document | change))
        with pytest.raises(ReleaseError, match="expected the recall of an index by slices"):
            read_certificate(tmp_path)
