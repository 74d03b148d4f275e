"""Licence windows at their edges, worked out by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retrieval.catalogue import Catalogue
from retrieval.eligibility import bitmaps
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.licences import Licences
from retrieval.eligibility.rules import Available
from tests.retrieval.worlds import items_table
from towers.data.schema import CODED_LICENCES, LICENCES

NOON = 1_700_000_000


def _at(seconds: int, milliseconds: int = 0) -> datetime:
    return datetime.fromtimestamp(seconds, UTC) + timedelta(milliseconds=milliseconds)


def _licence(country: str | None, start: datetime | None, end: datetime | None) -> dict[str, Any]:
    return {"country": country, "start": start, "end": end}


def _open_at(licences: list[Any] | None, country: str, *seconds: int) -> list[bool]:
    """Whether a title with these licences is available, at each of these seconds."""
    eligibility = Eligibility(Catalogue(items_table(1, licences=[licences])))
    return [eligibility.count(Available(country, second)) == 1 for second in seconds]


def test_a_window_opens_with_its_first_second_and_is_closed_at_its_end() -> None:
    window = [_licence("DE", _at(NOON), _at(NOON + 10))]
    assert _open_at(window, "DE", NOON - 1, NOON, NOON + 9, NOON + 10) == [False, True, True, False]


def test_a_window_is_exact_to_the_millisecond() -> None:
    window = [_licence("DE", _at(NOON, 1), _at(NOON + 10, 1))]
    assert _open_at(window, "DE", NOON, NOON + 1, NOON + 10, NOON + 11) == [False, True, True, False]
    window = [_licence("DE", _at(NOON, -1), _at(NOON + 10, -1))]
    assert _open_at(window, "DE", NOON - 1, NOON, NOON + 9, NOON + 10) == [False, True, True, False]


def test_windows_before_1970_are_windows() -> None:
    window = [_licence("DE", _at(-10, -500), _at(5, 500))]
    assert _open_at(window, "DE", 0, 5, 6) == [True, True, False]


def test_an_open_start_is_since_ever_and_an_open_end_for_good() -> None:
    assert _open_at([_licence("DE", None, _at(NOON))], "DE", 0, NOON - 1, NOON) == [True, True, False]
    assert _open_at([_licence("DE", _at(NOON), None)], "DE", NOON - 1, NOON, 253_402_300_799) == [
        False,
        True,
        True,
    ]
    assert _open_at([_licence("DE", None, None)], "DE", 0, NOON) == [True, True]


def test_a_licence_without_country_counts_everywhere_and_one_with_counts_there_alone() -> None:
    assert _open_at([_licence(None, None, None)], "DE", NOON) == [True]
    assert _open_at([_licence(None, None, None)], "", NOON) == [True]
    assert _open_at([_licence("FR", None, None)], "DE", NOON) == [False]
    assert _open_at([_licence("FR", None, None)], "FR", NOON) == [True]
    assert _open_at([_licence("fr", None, None)], "Fr", NOON) == [True]


def test_an_unknown_country_is_not_the_one_that_a_licence_leaves_blank() -> None:
    assert _open_at([_licence("", None, None)], "", NOON) == [False]


def test_null_licences_say_everywhere_and_no_licence_nowhere() -> None:
    assert _open_at(None, "DE", NOON) == [True]
    assert _open_at(None, "", NOON) == [True]
    assert _open_at([], "DE", NOON) == [False]
    assert _open_at([None], "DE", NOON) == [False]


def test_a_window_that_ends_where_or_before_it_starts_is_never_open() -> None:
    for end in (NOON, NOON - 5):
        window = [_licence("DE", _at(NOON), _at(end))]
        assert _open_at(window, "DE", NOON - 5, NOON - 1, NOON, NOON + 1) == [False] * 4


def test_a_window_between_two_seconds_is_open_in_none() -> None:
    assert _open_at([_licence("DE", _at(NOON, 200), _at(NOON, 700))], "DE", NOON, NOON + 1) == [False, False]


def test_windows_that_overlap_repeat_or_touch_are_open_in_all_of_them() -> None:
    first, second = _licence("DE", _at(NOON), _at(NOON + 10)), _licence("DE", _at(NOON + 5), _at(NOON + 20))
    third = _licence(None, _at(NOON + 20), _at(NOON + 30))
    seconds = [NOON - 1, NOON, NOON + 9, NOON + 10, NOON + 19, NOON + 20, NOON + 29, NOON + 30]
    expected = [False, True, True, True, True, True, True, False]
    assert _open_at([first, first, second, third, first], "DE", *seconds) == expected


def test_licences_of_several_columns_are_those_of_one_and_countries_may_be_codes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(8)
    given: list[Any] = [
        None
        if row % 9 == 0
        else [
            None
            if rng.random() < 0.1
            else _licence(
                rng.choice(["DE", "de", "FR", "", None]),  # type: ignore[arg-type]
                None if rng.random() < 0.2 else _at(NOON + int(rng.integers(-9, 9))),
                None if rng.random() < 0.2 else _at(NOON + int(rng.integers(-9, 9))),
            )
            for _ in range(rng.integers(4))
        ]
        for row in range(60)
    ]
    texts = pa.chunked_array([given[:41], given[41:]], LICENCES)
    codes = pa.chunked_array([given[:13], given[13:41], given[41:]], CODED_LICENCES)
    expected = Licences(texts)
    for num_titles in (1, 7, 1 << 14):
        monkeypatch.setattr("retrieval.eligibility.licences._NUM_TITLES", num_titles)
        for found in (
            Licences(texts),
            Licences(codes),
            Licences(codes.slice(0, 30), texts.slice(30)),
            Licences(texts.slice(0, 0), texts.slice(0, 50), codes.slice(50)),
        ):
            for country in ("DE", "FR", "PL", ""):
                for second in range(NOON - 10, NOON + 10):
                    told = found.available(country, second)
                    assert told.tolist() == expected.available(country, second).tolist()
                    assert found.period(country, second) == expected.period(country, second)


@pytest.mark.parametrize("country", ["DE", "FR", "PL", ""])
def test_one_eligibility_answers_every_second_of_many_titles_in_any_order(country: str) -> None:
    rng = np.random.default_rng(3)
    licences = [
        [
            _licence(
                rng.choice(["DE", "FR", None]),  # type: ignore[arg-type]
                _at(NOON, int(rng.integers(-20_000, 20_000))),
                _at(NOON, int(rng.integers(-20_000, 20_000))),
            )
            for _ in range(rng.integers(4))
        ]
        for _ in range(100)
    ]
    eligibility = Eligibility(Catalogue(items_table(100, licences=licences)))
    for second in rng.permutation(np.arange(NOON - 22, NOON + 22)).tolist():
        open_rows = {
            row
            for row, given in enumerate(licences)
            for one in given
            if one["country"] in (None, country) and one["start"] <= _at(second) < one["end"]
        }
        found = bitmaps.rows(eligibility.bitmap(Available(country, second)))
        assert found.tolist() == sorted(open_rows)
