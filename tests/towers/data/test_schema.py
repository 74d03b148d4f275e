from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.worlds import START_SECONDS, tiny_tables
from towers.data.schema import (
    EVENTS,
    ITEMS,
    PROFILES,
    QUERIES,
    SCHEMAS,
    TIME,
    Tables,
    read_tables,
    table,
    validate,
)
from towers.errors import MissingDataError, SchemaError


def write_tables(tables: Tables, folder: Path) -> None:
    """The tables as they stand, valid or not."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        pq.write_table(getattr(tables, name), folder / f"{name}.parquet")


def with_column(tables: Tables, name: str, column: str, values: list[object]) -> Tables:
    """The tables with one column of one of them replaced."""
    found: pa.Table = getattr(tables, name)
    place = found.schema.get_field_index(column)
    field = found.schema.field(column)
    return replace(tables, **{name: found.set_column(place, field, pa.array(values, field.type))})


def empty_tables() -> Tables:
    return Tables(table(ITEMS, {}), table(EVENTS, {}), table(PROFILES, {}), table(QUERIES, {}))


def test_columns_that_a_source_lacks_are_null() -> None:
    items = table(ITEMS, {"item_id": ["a", "b"], "title": ["A", "B"]})
    assert items.schema.equals(ITEMS)
    lacking = set(ITEMS.names) - {"item_id", "title"}
    assert all(items[name].null_count == 2 for name in lacking)


def test_a_table_of_no_columns_is_empty_and_has_its_schema() -> None:
    events = table(EVENTS, {})
    assert events.num_rows == 0
    assert events.schema.equals(EVENTS)


def test_a_column_outside_the_schema_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match=r"columns \['colour'\] are not in the schema"):
        table(ITEMS, {"item_id": ["a"], "title": ["A"], "colour": ["red"]})


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"differ in length: \{'item_id': 2, 'title': 1\}"):
        table(ITEMS, {"item_id": ["a", "b"], "title": ["A"]})


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("rating", ["good"]),
        ("release_year", [99_999]),
        ("genres", ["Drama"]),
        ("title", pa.array([["A"]])),
        ("synopsis", [7]),
    ],
)
def test_values_of_the_wrong_type_are_refused_by_column(column: str, values: object) -> None:
    with pytest.raises(SchemaError, match=f"column {column}: .*expected"):
        table(ITEMS, {"item_id": ["a"], "title": ["A"]} | {column: values})


def test_the_tiny_tables_and_empty_tables_are_valid() -> None:
    validate(tiny_tables())
    validate(empty_tables())


@pytest.mark.parametrize(
    ("name", "column", "values", "message"),
    [
        ("items", "item_id", ["t1", "t2", "t1", "t4", "t1"], r"items: item_id 't1' stands in 3 rows \(1 ids"),
        ("items", "rating", [1, 2, 10.5, None, 11], "items: rating is 10.5 in the first of 2 rows"),
        ("items", "rating", [1, 2, float("nan"), None, 3], "items: rating is nan in the first of 1 rows"),
        ("items", "duration_minutes", [1, -1, 2, 3, 4], "items: duration_minutes is -1.0 in the first of 1"),
        ("items", "title", ["a", None, "c", None, "e"], "items: title is null in 2 rows"),
        ("profiles", "profile_id", ["ana", "ben", "cho", "cho"], "profiles: profile_id 'cho' stands in 2"),
        ("items", "embedding", [None, [1, 2], [3, 4, 5], None, [6]], "'t3' has 3 .* one of 2 .* expected 2"),
        ("items", "embedding", [None, [1, 2], [3, float("nan")], None, None], "'t3' has an entry that is no"),
        ("items", "embedding", [None, [1, None], [3, 4], None, None], "'t2' has an entry that is no"),
        ("events", "item_id", ["t1", "t2", "t9", "t1", "t1", "t9", "t8"], r"'t9' is not in items \(3 such"),
        ("events", "profile_id", ["eve"] * 7, r"events: profile_id 'eve' is not in profiles \(7 such rows\)"),
        ("events", "minutes_watched", [None, 1, -0.5, 2, 3, 4, 5], "minutes_watched is -0.5 in the first"),
        ("events", "minutes_watched", [None, 1, 2, float("inf"), 3, 4, 5], "minutes_watched is inf"),
        ("events", "stars", [1, 2, 3, 4, 5, 6, 10.5], "events: stars is 10.5 .* expected 0 to 10"),
        ("events", "start", [None] * 7, "events: start is null in 7 rows"),
        ("queries", "item_id", ["t1", "t6"], "queries: item_id 't6' is not in items"),
        ("queries", "profile_id", ["eve", None], "queries: profile_id 'eve' is not in profiles"),
        ("queries", "text", [None, "reef"], "queries: text is null in 1 rows"),
    ],
)
def test_a_fault_is_named_by_table_column_count_and_expectation(
    name: str, column: str, values: list[object], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        validate(with_column(tiny_tables(), name, column, values))


def test_null_references_of_a_search_are_no_fault() -> None:
    validate(with_column(tiny_tables(), "queries", "profile_id", [None, None]))


def test_the_message_starts_with_where_the_tables_come_from() -> None:
    with pytest.raises(SchemaError, match=r"^ratings folder: items: rating"):
        validate(with_column(tiny_tables(), "items", "rating", [-1] * 5), "ratings folder")


def test_another_type_or_order_of_columns_is_another_schema() -> None:
    tables = tiny_tables()
    with pytest.raises(SchemaError, match="items: schema is"):
        validate(replace(tables, items=tables.items.select(ITEMS.names[::-1])))
    with pytest.raises(SchemaError, match="events: schema is"):
        validate(replace(tables, events=tables.events.drop_columns(["stars"])))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    tables = tiny_tables()
    write_tables(tables, tmp_path / "new" / "folder")
    read = read_tables(tmp_path / "new" / "folder")
    for name in ("items", "events", "profiles", "queries"):
        assert getattr(read, name).equals(getattr(tables, name))


def test_a_missing_table_is_named_with_what_to_do(tmp_path: Path) -> None:
    write_tables(tiny_tables(), tmp_path)
    (tmp_path / "profiles.parquet").unlink()
    with pytest.raises(MissingDataError, match=r"profiles\.parquet: no such table; run"):
        read_tables(tmp_path)


def test_a_file_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    tables = tiny_tables()
    write_tables(tables, tmp_path)
    pq.write_table(tables.items.drop_columns(["title"]), tmp_path / "items.parquet")
    with pytest.raises(SchemaError, match=r"items\.parquet: .*title"):
        read_tables(tmp_path)


def test_items_that_were_written_before_they_had_embeddings_have_none(tmp_path: Path) -> None:
    tables = tiny_tables()
    write_tables(tables, tmp_path)
    pq.write_table(tables.items.drop_columns(["embedding"]), tmp_path / "items.parquet")
    assert read_tables(tmp_path).items.equals(tables.items)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("title", pa.array(["A", None, "C", "D", "E"])),  # null where a value must be
        ("title", pa.array([["A"]] * 5)),
        ("title", pa.array([{"en": "A"}] * 5)),
        ("rating", pa.array(["good"] * 5)),
        ("release_year", pa.array([99_999] * 5)),
    ],
)
def test_a_file_with_a_column_of_another_kind_is_named(column: str, values: pa.Array, tmp_path: Path) -> None:
    tables = tiny_tables()
    write_tables(tables, tmp_path)
    items = tables.items.set_column(tables.items.schema.get_field_index(column), column, values)
    pq.write_table(items, tmp_path / "items.parquet")
    with pytest.raises(SchemaError, match=rf"^{tmp_path}/items\.parquet: .*expected .*title string not null"):
        read_tables(tmp_path)


def test_no_damaged_byte_raises_a_foreign_error(tmp_path: Path) -> None:
    write_tables(tiny_tables(), tmp_path)
    path = tmp_path / "items.parquet"
    whole = path.read_bytes()
    num_refused = 0
    for place in range(0, len(whole), 23):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_tables(tmp_path)  # a byte that nothing reads back does no harm
        except SchemaError:
            num_refused += 1
    assert num_refused > 50


def test_what_is_read_is_validated(tmp_path: Path) -> None:
    write_tables(with_column(tiny_tables(), "events", "minutes_watched", [-1.0] * 7), tmp_path)
    with pytest.raises(SchemaError, match=f"^{tmp_path}: events: minutes_watched is -1.0"):
        read_tables(tmp_path)


def test_times_are_milliseconds_in_utc() -> None:
    start = tiny_tables().events["start"]
    assert start.type == TIME == pa.timestamp("ms", tz="UTC")
    assert start[1].as_py().timestamp() == START_SECONDS
