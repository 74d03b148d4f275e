"""A table that is decoded as far as it is asked for says what the whole table says."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.towers.data.test_title_groups import titles
from towers.data.title_groups import write_items
from towers.data.titles import Titles, TitlesOfFile, read_titles
from towers.errors import MissingDataError, SchemaError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("towers.data.title_groups.GROUP_ROWS", 4)
    write_items(tmp_path / "items.parquet", titles({f"t{row}": row for row in range(11)}))
    return tmp_path


def test_any_rows_are_those_of_the_table(folder: Path) -> None:
    whole = read_titles(folder)
    rng = np.random.default_rng(0)
    for row in ([], [10], [3, 4], [8, 8, 0], range(11), rng.permutation(11), rng.integers(0, 11, 30)):
        some = np.array(row, np.int64)
        assert TitlesOfFile(folder).some(some).equals(whole.some(some))
    for start, num in ((0, 0), (0, 4), (3, 2), (4, 7), (10, 1), (11, 0), (0, 11)):
        assert TitlesOfFile(folder).slice(start, num).equals(whole.slice(start, num))
    assert TitlesOfFile(folder).table.equals(whole.table)
    assert TitlesOfFile(folder).ids.equals(whole.ids)
    assert TitlesOfFile(folder).licences().to_pylist() == whole.licences().to_pylist()
    assert len(TitlesOfFile(folder)) == len(whole) == 11
    for wrong in ([-1], [11]):
        with pytest.raises(IndexError):
            TitlesOfFile(folder).some(np.array(wrong))


def test_no_more_is_decoded_than_is_asked_for(folder: Path) -> None:
    """The bytes of a group that nobody asks for may be any."""
    path = folder / "items.parquet"
    about = pq.read_metadata(path).row_group(1)
    first = about.column(1).dictionary_page_offset  # of titles; the ids are read
    content = bytearray(path.read_bytes())
    content[first : first + 20] = bytes(20)
    path.write_bytes(content)
    found = TitlesOfFile(folder)
    assert found.nbytes == 0
    assert found.some(np.array([0, 9]))["title"].to_pylist() == ["", "Title 9"]
    assert found.nbytes > 0
    with pytest.raises(SchemaError, match=r"items\.parquet"):
        found.some(np.array([5]))


def test_what_is_open_is_read_on_when_the_file_is_replaced(folder: Path) -> None:
    found, whole = TitlesOfFile(folder), read_titles(folder).table
    other = folder / "other.parquet"
    write_items(other, titles({"x": 1}))
    other.replace(folder / "items.parquet")
    assert found.table.equals(whole)


def test_titles_that_are_not_as_they_must_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        TitlesOfFile(tmp_path)
    path = tmp_path / "items.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(SchemaError, match=r"items\.parquet"):
        TitlesOfFile(tmp_path)
    whole = titles({"a": 1, "b": 2})
    rated = whole.set_column(
        whole.schema.get_field_index("rating"), "rating", pa.array([3, 11], pa.float32())
    )
    pq.write_table(rated, path)
    with pytest.raises(SchemaError, match="rating is 11"):
        TitlesOfFile(tmp_path).some(np.array([0]))
    twice = pa.concat_tables([whole, whole])
    pq.write_table(twice, path, row_group_size=2)
    found = TitlesOfFile(tmp_path)
    with pytest.raises(SchemaError, match="'a' stands in 2 rows"):
        found.require_unique_ids()
    with pytest.raises(SchemaError, match="'a' stands in 2 rows"):
        Titles(twice).require_unique_ids()


def test_embeddings_are_of_one_width_whatever_is_decoded_first(folder: Path) -> None:
    whole = titles({f"t{row}": row for row in range(6)})
    place = whole.schema.get_field_index("embedding")
    for widths, is_sound in (((0, 0, 2, 2, 2, 0), True), ((0, 0, 2, 2, 0, 3), False), ((0,) * 6, True)):
        given = pa.array([[0.5] * width or None for width in widths], whole.schema.field(place).type)
        write_items(folder / "items.parquet", whole.set_column(place, whole.schema.field(place), given))
        found = TitlesOfFile(folder)
        if is_sound:
            assert (
                found.some(np.array([5, 0, 2]))["embedding"].to_pylist() == given.take([5, 0, 2]).to_pylist()
            )
            continue
        with pytest.raises(SchemaError, match="embedding has 3 numbers; expected 2"):
            found.some(np.array([5]))
