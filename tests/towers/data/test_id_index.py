"""The index of ids against a dictionary."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.data.id_index import IdIndex

IDS = st.text(max_size=3)


@given(st.lists(IDS, unique=True), st.lists(st.none() | IDS))
def test_every_id_is_found_where_it_stands_and_no_other(known: list[str], asked: list[str | None]) -> None:
    index = IdIndex(pl.Series(known, dtype=pl.String))
    place = {value: row for row, value in enumerate(known)}
    found = index.rows(pl.Series([*asked, *known], dtype=pl.String))
    assert found.tolist() == [place.get(value, -1) if value is not None else -1 for value in [*asked, *known]]


@pytest.mark.parametrize("slot", [0, 7])
def test_ids_that_all_want_one_slot_are_told_apart(monkeypatch: pytest.MonkeyPatch, slot: int) -> None:
    monkeypatch.setattr(IdIndex, "_slots", lambda self, ids: np.full(len(ids), slot, np.int64))
    known = pl.Series([str(n) for n in range(50)])
    asked = pl.Series(["x", "49", None, "0", "17"])
    assert IdIndex(known).rows(asked).tolist() == [-1, 49, -1, 0, 17]


def test_many_ids_are_found() -> None:
    known = pl.Series([f"v{n}" for n in range(100_000)])
    order = np.random.default_rng(0).permutation(200_000)
    asked = pl.Series([f"v{n}" for n in order.tolist()])
    np.testing.assert_array_equal(IdIndex(known).rows(asked), np.where(order < 100_000, order, -1))
