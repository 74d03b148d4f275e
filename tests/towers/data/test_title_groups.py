"""Titles in the order of an older file, and what of them is known to be the same by its bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from towers.data.schema import ITEMS, table
from towers.data.title_groups import same_rows, write_items


def titles(said: dict[str, int]) -> pa.Table:
    """Titles by id, and what is said of each: a number, which stands in columns of several types."""
    numbers = list(said.values())
    return table(
        ITEMS,
        {
            "item_id": list(said),
            "title": [f"Title {number}" if number else "" for number in numbers],
            "release_year": [None if number % 3 == 0 else 1900 + number for number in numbers],
            "genres": [["Drama"] * (number % 4) if number % 5 else None for number in numbers],
            "rating": [None if number % 7 == 0 else number / 10 for number in numbers],
            "licences": [
                [{"country": "GB", "start": None, "end": None}] * (number % 2) for number in numbers
            ],
        },
    )


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of these tests are compared piece by piece, as large ones are."""
    monkeypatch.setattr("towers.data.title_groups._PIECE_BYTES", 100)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    num=st.integers(0, 40),
    group=st.integers(1, 12),
    gone=st.sets(st.integers(0, 39)),
    changed=st.sets(st.integers(0, 39)),
    num_new=st.integers(0, 15),
    seed=st.integers(0, 1000),
)
def test_groups_in_which_nothing_changed_are_known(
    num: int,
    group: int,
    gone: set[int],
    changed: set[int],
    num_new: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("titles")
    older, newer = folder / "older.parquet", folder / "newer.parquet"
    before = {f"t{row}": row for row in range(num)}
    now = {
        **{f"t{row}": row + (100 if row in changed else 0) for row in range(num) if row not in gone},
        **{f"n{row}": row for row in range(num_new)},
    }
    shuffled = titles(now).take(pa.array(np.random.default_rng(seed).permutation(len(now))))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("towers.data.title_groups.GROUP_ROWS", group)
        write_items(older, titles(before))
        write_items(newer, shuffled, older)
    read = pq.read_table(newer)
    assert sorted(read.to_pylist(), key=str) == sorted(shuffled.to_pylist(), key=str)
    # Those of before in their order, then the new ones as they were given.
    ids = read["item_id"].to_pylist()
    kept = [name for name in before if name in now]
    assert ids == [*kept, *(name for name in shuffled["item_id"].to_pylist() if name[0] == "n")]
    known = {
        first
        for first in range(0, num, group)
        if not (gone | changed) & set(range(first, min(first + group, num)))
    }
    found = same_rows(older, newer)
    assert {rows.older for rows in found} == known
    whole = pq.read_table(older)
    for rows in found:
        assert whole.slice(rows.older, rows.num).equals(read.slice(rows.newer, rows.num))
        assert rows.num == min(group, num - rows.older)
    assert [rows.newer for rows in found] == sorted(rows.newer for rows in found)


def test_pieces_in_which_a_table_lies_do_not_tell_in_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towers.data.title_groups.GROUP_ROWS", 10)
    whole = titles({f"t{row}": row for row in range(35)})
    pieces = pa.concat_tables([whole.slice(0, 7), whole.slice(7, 1), whole.slice(8)])
    for name, one in (("whole", whole), ("pieces", pieces)):
        write_items(tmp_path / name, one)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "pieces").read_bytes()
    assert [rows.num for rows in same_rows(tmp_path / "whole", tmp_path / "pieces")] == [10, 10, 10, 5]


def test_a_byte_that_differs_and_other_columns_are_not_the_same(tmp_path: Path) -> None:
    one, other, fewer = (tmp_path / name for name in ("one", "other", "fewer"))
    write_items(one, titles({"a": 1, "b": 2}))
    write_items(other, titles({"a": 1, "b": 4}))  # as long, of the same form
    pq.write_table(titles({"a": 1, "b": 2}).drop_columns("rating"), fewer, compression="zstd")
    assert len(same_rows(one, one)) == 1
    assert same_rows(one, other) == ()
    assert same_rows(one, fewer) == ()
