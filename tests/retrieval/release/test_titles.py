"""Lines over the titles of a build are read as the whole table would be."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.release.titles import (
    LINES_FILE,
    Lines,
    drawn_titles,
    read_drawn,
    read_lines,
    read_titles,
    write_lines,
    write_titles,
)
from towers.data.schema import ITEMS, table
from towers.errors import ReleaseError


def items(names: list[str]) -> pa.Table:
    """Titles of these names, whose other columns say something or nothing."""
    columns = {
        "item_id": [f"id {name}" for name in names],
        "title": names,
        "genres": [[name, "Drama"] if len(name) % 2 else None for name in names],
        "licences": [[{"country": "GB", "start": None, "end": None}] * (len(name) % 3) for name in names],
    }
    return table(ITEMS, columns)


@settings(max_examples=25)
@given(num_built=st.integers(0, 6), replaced=st.sets(st.integers(0, 5)), num_added=st.integers(0, 3))
def test_lines_are_read_in_their_rows(
    num_built: int, replaced: set[int], num_added: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("titles")
    names = [f"built{row}" for row in range(num_built)]
    rows = [*sorted(row for row in replaced if row < num_built), *range(num_built, num_built + num_added)]
    expected = {**dict(enumerate(names)), **{row: f"said{row}{'+' * row}" for row in rows}}
    write_titles(folder, items(names))
    write_lines(folder, Lines(np.array(rows, np.int64), items([expected[row] for row in rows])))
    found = read_titles(folder)
    assert found.schema == ITEMS
    assert found.to_pylist() == items([expected[row] for row in range(num_built + num_added)]).to_pylist()
    assert read_lines(folder).row.tolist() == rows


def test_without_lines_the_titles_are_those_of_the_build(tmp_path: Path) -> None:
    write_titles(tmp_path, items(["one", "two"]))
    assert read_titles(tmp_path).equals(items(["one", "two"]))


def test_some_titles_of_a_build_are_read_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = items(["one", "two", "three", "four", "five"])
    write_titles(tmp_path, items([]))
    assert read_drawn(tmp_path, drawn_titles(tmp_path, "r1")).equals(items([]))
    monkeypatch.setattr("towers.data.title_groups.GROUP_ROWS", 2)
    write_titles(tmp_path, whole)
    write_lines(tmp_path, Lines(np.array([0]), items(["other"])))
    drawn = {drawn_titles(tmp_path, f"r{number}") for number in range(50)}
    assert sorted(drawn) == [(0, 0, 2), (1, 2, 2), (2, 4, 1)]
    for some in drawn:
        assert read_drawn(tmp_path, some).equals(whole.slice(some.first, some.num))
    assert drawn_titles(tmp_path, "r7") == drawn_titles(tmp_path, "r7")


@pytest.mark.parametrize("rows", [[1, 1], [1, 0], [-1, 0]])
def test_rows_that_do_not_rise_are_refused(rows: list[int], tmp_path: Path) -> None:
    write_titles(tmp_path, items(["one", "two"]))
    write_lines(tmp_path, Lines(np.array(rows), items(["a", "b"])))
    with pytest.raises(ReleaseError, match=r"items_updates\.parquet: rows do not rise from 0; expected each"):
        read_titles(tmp_path)


@pytest.mark.parametrize("rows", [[3], [0, 3], [2, 4]])
def test_a_row_without_a_title_is_refused(rows: list[int], tmp_path: Path) -> None:
    write_titles(tmp_path, items(["one", "two"]))
    write_lines(tmp_path, Lines(np.array(rows), items(["a"] * len(rows))))
    with pytest.raises(
        ReleaseError, match=r"with gaps, after 2 of items\.parquet; expected every row from 2"
    ):
        read_titles(tmp_path)


def test_a_file_that_holds_something_else_is_named(tmp_path: Path) -> None:
    write_titles(tmp_path, items(["one"]))
    (tmp_path / LINES_FILE).write_bytes(b"no parquet")
    with pytest.raises(ReleaseError, match=r"items_updates\.parquet: .*expected the columns row, item"):
        read_titles(tmp_path)
    rows: list[list[object]] = [[None], [[0]], ["a"]]
    for table_ in (items(["two"]), *(items(["two"]).add_column(0, "row", pa.array(row)) for row in rows)):
        pq.write_table(table_, tmp_path / LINES_FILE)
        with pytest.raises(ReleaseError, match=r"items_updates\.parquet: .*expected the columns row, item"):
            read_titles(tmp_path)
