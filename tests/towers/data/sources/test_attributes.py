import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from towers.data.sources.attributes import attributes

values = st.none() | st.sampled_from(["", "a", "é", "long text"])


@given(st.lists(st.tuples(values, values, st.none() | st.integers(-5, 5)), max_size=6))
def test_a_row_has_the_attributes_that_have_a_value(
    rows: list[tuple[str | None, str | None, int | None]],
) -> None:
    frame = pl.DataFrame(rows, schema={"x": pl.String, "y": pl.String, "z": pl.Int64}, orient="row")
    found = (
        frame.lazy().select(attributes({"first": "x", "y": "y", "third": "z"})).collect(engine="streaming")
    )
    expected = [
        [
            {"name": name, "value": str(value)}
            for name, value in zip(("first", "y", "third"), row, strict=True)
            if value not in (None, "")
        ]
        or None
        for row in rows
    ]
    assert found["attributes"].to_list() == expected


def test_without_columns_there_are_no_attributes() -> None:
    frame = pl.LazyFrame({"x": ["a"]}).with_columns(attributes({}))
    assert frame.collect()["attributes"].to_list() == [None]
    assert (
        frame.collect_schema()["attributes"]
        == pl.LazyFrame({"x": ["a"]}).select(attributes({"x": "x"})).collect_schema()["attributes"]
    )
