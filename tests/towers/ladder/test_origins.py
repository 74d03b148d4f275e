"""Cuts of logs that are small enough to be read off, and what a recommender in stock of few titles shows."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import DAY_SECONDS, START_SECONDS, log_tables
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.histories import Histories
from towers.data.schema import LICENCES, TIME
from towers.data.titles import Titles
from towers.errors import ConfigError
from towers.ladder.origins import (
    OriginSettings,
    Stocked,
    known_ids,
    lay_out,
    questions,
    released_seconds,
    split_at,
)
from towers.recommender import PAD, Queries, Rankings

DAY_MS = 1000 * DAY_SECONDS


def dataset_of(events: list[tuple[int, int, float]]) -> Dataset:
    """Of (profile, item, day): four profiles, six titles."""
    in_ms = [(profile, item, round(day * DAY_MS)) for profile, item, day in events]
    return dataset_from_tables(log_tables(in_ms, num_items=6, num_profiles=4))


def after(days: float) -> int:
    return START_SECONDS + round(days * DAY_SECONDS)


# Profile 0 goes on, 1 stops, 2 begins late, 3 never comes.
LOG = [
    (0, 0, 0.0),
    (0, 1, 3.0),
    (0, 2, 8.0),
    (0, 3, 15.0),
    (1, 1, 2.0),
    (1, 0, 9.0),
    (2, 4, 10.0),
    (2, 1, 16.0),
]


def test_a_window_asks_every_profile_with_events_in_it_and_tells_what_came_before() -> None:
    dataset = dataset_of(LOG)
    asked = questions(dataset, after(8.0), after(15.0))
    assert asked.profile_row.tolist() == [0, 1, 2]
    assert [asked.history.items_of(place).tolist() for place in range(3)] == [[0, 1], [1], []]
    assert asked.target_row.tolist() == [2, 0, 4]
    assert asked.time_seconds.tolist() == [after(8.0), after(9.0), after(10.0)]
    assert len(questions(dataset, after(20.0), after(30.0))) == 0


def test_a_model_learns_up_to_the_validation_days_before_its_cut_off() -> None:
    parts = split_at(dataset_of(LOG), after(10.5), validation_days=3, window_seconds=7 * DAY_SECONDS)
    assert parts.num_train.tolist() == [2, 1, 0, 0]
    assert parts.num_watches.tolist() == [1, 2, 0, 0, 0, 0]
    assert parts.validation.target_row.tolist() == [2, 0, 4]
    assert parts.test.target_row.tolist() == [3, 1]
    nothing = split_at(dataset_of(LOG), after(10.5), validation_days=0, window_seconds=7 * DAY_SECONDS)
    assert nothing.num_train.tolist() == [3, 2, 1, 0]
    assert len(nothing.validation) == 0


def test_a_question_is_known_where_its_profile_and_all_its_targets_are() -> None:
    dataset = dataset_of(LOG)
    learned = split_at(dataset, after(9.5), validation_days=0, window_seconds=DAY_SECONDS)
    asked = questions(dataset, after(9.5), after(20.0))
    # Title 3 was never watched before; profile 2 was not there, and titles 4 and 1 are its targets.
    assert asked.profile_row.tolist() == [0, 2]
    assert known_ids(asked, learned).tolist() == [False, False]
    asked = questions(dataset, after(8.5), after(9.5))
    assert known_ids(asked, learned).tolist() == [True]
    assert known_ids(questions(dataset, after(30.0), after(31.0)), learned).tolist() == []


def test_a_title_is_released_with_its_first_licence_or_else_its_first_event() -> None:
    dataset = dataset_of(LOG)

    def licence(start_day: float | None) -> dict[str, object]:
        start = None if start_day is None else round(START_SECONDS * 1000 + start_day * DAY_MS)
        return {"country": None, "start": start, "end": None}

    # Title 0: before its event; 1: two; 2: after its event; 3: none at all; 4: nothing said; 5: since ever.
    licences = pa.array(
        [[licence(-5)], [licence(40), licence(1)], [licence(12)], [], None, [licence(None)]],
        pa.list_(pa.struct([("country", pa.string()), ("start", pa.int64()), ("end", pa.int64())])),
    ).cast(LICENCES)
    assert LICENCES.value_type.field("start").type == TIME
    column = dataset.items.schema.get_field_index("licences")
    items = dataset.items.set_column(column, "licences", pa.chunked_array([licences]))
    released = released_seconds(replace(dataset, titles=Titles(items)))
    assert released[:5].tolist() == [after(-5), after(1), after(8), after(15), after(10)]
    assert released[5] < 0
    assert released_seconds(dataset)[5] == np.iinfo(np.int64).max


@given(
    num_days=st.integers(20, 200),
    num_origins=st.integers(1, 9),
    step=st.integers(1, 9),
    window=st.integers(1, 9),
    min_ages=st.integers(1, 4),
)
def test_every_window_lies_in_the_log_and_the_last_ends_with_it(
    num_days: int, num_origins: int, step: int, window: int, min_ages: int
) -> None:
    history = dataset_of([(0, 0, 0.0), (0, 1, float(num_days))]).history
    settings = OriginSettings(num_origins, step, window, 5, min_ages, learn_days=5, validation_days=3)
    needed = (num_origins - 1) * step + min_ages * window + 8
    if needed > num_days:
        with pytest.raises(ConfigError, match=r"^study\.num_origins: \d+ every \d+ days do not fit"):
            lay_out(history, settings, "study")
        return
    origins = lay_out(history, settings, "study")
    end = after(num_days) + 1
    assert len(origins.origin_seconds) == num_origins
    assert origins.origin_seconds[0] >= after(8.0)
    assert origins.start(num_origins - 1, min_ages) == end
    assert int(origins.num_ages[-1]) in range(min_ages, 6)
    for origin, num_ages in enumerate(origins.num_ages.tolist()):
        assert origins.start(origin, num_ages) <= end
        assert num_ages == 5 or origins.start(origin, num_ages + 1) > end
    ages_of = origins.ages_of()
    cutoffs = [origins.start(row, age) for row in range(num_origins) for age in range(origins.num_ages[row])]
    assert list(ages_of) == sorted(set(cutoffs))
    assert [ages_of[cutoff] for cutoff in origins.origin_seconds.tolist()] == origins.num_ages.tolist()


@dataclass(frozen=True)
class ByRow:
    """Ranks titles by row, the history left out, and remembers no question."""

    num_items: int

    def rank(self, queries: Queries, k: int) -> Rankings:
        rows = np.full((len(queries), k), PAD, dtype=np.int64)
        for place in range(len(queries)):
            left = np.setdiff1d(np.arange(self.num_items), queries.history.items_of(place))[:k]
            rows[place, : len(left)] = left
        score = np.where(rows == PAD, -np.inf, -rows).astype(np.float32)
        return Rankings(rows, score)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 12), st.data())
def test_what_is_not_in_stock_is_neither_shown_nor_read(
    stock: list[bool], k: int, data: st.DataObject
) -> None:
    watched = np.array(data.draw(st.lists(st.integers(0, len(stock) - 1), unique=True)), dtype=np.int64)
    history = Histories(
        np.array([0, len(watched), len(watched)]),
        watched,
        np.zeros(len(watched), np.int64),
        np.zeros(len(watched), np.float32),
    )
    queries = Queries(history, np.ones(2, np.int64), np.array(["", ""]))
    ranked = Stocked(ByRow(len(stock)), np.array(stock)).rank(queries, k)
    for place, seen in enumerate((set(watched.tolist()), set())):
        wanted = [row for row, held in enumerate(stock) if held and row not in seen][:k]
        assert ranked.item_row[place].tolist() == wanted + [PAD] * (k - len(wanted))
        assert np.all(np.isneginf(ranked.score[place, len(wanted) :]))


def test_a_title_out_of_stock_is_taken_out_of_the_history() -> None:
    read: list[list[int]] = []

    @dataclass(frozen=True)
    class Reading(ByRow):
        def rank(self, queries: Queries, k: int) -> Rankings:
            read.append(queries.history.item_row.tolist())
            return ByRow.rank(self, queries, k)

    history = questions(dataset_of(LOG), after(16.0), after(17.0)).history
    assert history.item_row.tolist() == [4]
    queries = Queries(history, np.array([after(16.0)]), np.array([""]))
    Stocked(Reading(6), np.array([True, True, True, True, False, True])).rank(queries, 2)
    assert read == [[]]
