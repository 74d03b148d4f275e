import numpy as np
import pyarrow as pa
import pytest

from towers.data.columns import listed_texts, numbers, source_column, texts
from towers.data.schema import ITEMS, PROFILES, table
from towers.errors import SchemaError


def attributes(*rows: dict[str, str | None] | None) -> list[list[dict[str, str | None]] | None]:
    return [
        None if row is None else [{"name": name, "value": value} for name, value in row.items()]
        for row in rows
    ]


PEOPLE = table(
    PROFILES,
    {
        "profile_id": ["a", "b", "c", "d"],
        "kids": [True, None, False, True],
        "language": ["en", "", None, "fr"],
        "attributes": attributes(
            {"plan": "gold", "age": "7"}, None, {"age": None}, {"plan": "", "age": "-2.5"}
        ),
    },
)


def test_an_attribute_is_read_as_a_column_and_is_null_where_a_row_lacks_it() -> None:
    assert source_column(PEOPLE, "attributes.plan").to_pylist() == ["gold", None, None, ""]
    assert source_column(PEOPLE.slice(3), "attributes.age").to_pylist() == ["-2.5"]
    assert source_column(PEOPLE, "attributes.colour").to_pylist() == [None] * 4
    assert source_column(PEOPLE.slice(4), "attributes.plan").to_pylist() == []


def test_an_attribute_is_the_same_from_several_chunks_and_from_a_column_of_its_own() -> None:
    chunks = pa.concat_tables([PEOPLE.slice(0, 1), PEOPLE.slice(1)])
    assert source_column(chunks, "attributes.plan").to_pylist() == ["gold", None, None, ""]
    flat = pa.table({"attributes.plan": ["gold", None]})
    assert source_column(flat, "attributes.plan").to_pylist() == ["gold", None]
    with pytest.raises(SchemaError, match=r"has no language, only attributes\.plan"):
        source_column(flat, "language")
    with pytest.raises(SchemaError, match=r"has no attributes\.age"):
        source_column(flat, "attributes.age")


def test_texts_are_null_where_there_is_none() -> None:
    assert texts(PEOPLE, "language").to_pylist() == ["en", None, None, "fr"]
    assert texts(PEOPLE, "kids").to_pylist() == ["true", None, "false", "true"]
    assert texts(PEOPLE, "attributes.plan").to_pylist() == ["gold", None, None, None]


def test_numbers_are_read_from_any_column_and_a_text_that_is_none_is_refused() -> None:
    np.testing.assert_array_equal(numbers(PEOPLE, "attributes.age"), [7.0, np.nan, np.nan, -2.5])
    np.testing.assert_array_equal(numbers(PEOPLE, "kids"), [1.0, np.nan, 0.0, 1.0])
    with pytest.raises(SchemaError, match=r"^attributes\.plan: .*gold.*expected numbers"):
        numbers(PEOPLE, "attributes.plan")
    endless = table(ITEMS, {"item_id": ["a", "b"], "title": ["A", "B"], "rating": [float("inf"), 3.0]})
    np.testing.assert_array_equal(numbers(endless, "rating"), [np.nan, 3.0])


def test_lists_are_flat_and_their_nulls_count_as_places() -> None:
    casts = [["p", None, "q"], None, [], ["", "r", "s"], ["p"]]
    items = table(ITEMS, {"item_id": list("abcde"), "title": list("abcde"), "cast": casts})
    row, values = listed_texts(items, "cast", 2)
    assert row.tolist() == [0, 3, 4]
    assert values.to_pylist() == ["p", "r", "p"]
    row, values = listed_texts(items.slice(3), "cast", 0)
    assert row.tolist() == [0, 0, 1]
    assert values.to_pylist() == ["r", "s", "p"]
