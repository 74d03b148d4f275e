"""An episode counts for its series; what names no series stays; a chain is refused."""

import logging

import numpy as np
import pytest

from towers.data.schema import ITEMS, table
from towers.data.signals.episodes import title_rows
from towers.errors import SchemaError


def rows(**series_of: str | None) -> list[int]:
    items = table(
        ITEMS, {"item_id": list(series_of), "title": list(series_of), "series_id": list(series_of.values())}
    )
    found: list[int] = title_rows(items).tolist()
    return found


def test_episodes_point_to_the_row_of_their_series_and_other_titles_to_their_own() -> None:
    assert rows(e1="s", film=None, s=None, e2="s") == [2, 1, 2, 2]


def test_a_series_that_is_not_in_the_catalogue_leaves_its_episodes_and_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        assert rows(e1="gone", e2="gone", e3="s", s=None) == [0, 1, 3, 3]
    assert "num_episodes=1 num_series=1 num_unknown_series=2" in caplog.text


def test_a_title_that_names_itself_is_a_title() -> None:
    assert rows(s="s", e="s") == [0, 0]


def test_a_series_of_a_series_is_refused_by_name() -> None:
    with pytest.raises(
        SchemaError, match=r"'e' belongs to 's', which belongs to 'franchise' \(1 such rows\)"
    ):
        rows(franchise=None, s="franchise", e="s")


def test_two_titles_that_name_each_other_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"2 such rows"):
        rows(a="b", b="a")


def test_an_empty_catalogue_has_no_rows() -> None:
    assert title_rows(table(ITEMS, {})).dtype == np.int64
    assert rows() == []
