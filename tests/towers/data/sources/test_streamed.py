from collections.abc import Callable, Iterator

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from towers.data.sources.streamed import lazy_frame

Query = Callable[[pl.LazyFrame], pl.LazyFrame]
SCHEMA = {"n": pl.Int64(), "text": pl.String()}


def frame_of(sizes: list[int]) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """A lazy frame of batches of these sizes, and the same rows in memory."""
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    batches = [
        pl.DataFrame([(n, f"row {n}") for n in range(start, start + size)], schema=SCHEMA, orient="row")
        for start, size in zip(starts, sizes, strict=True)
    ]

    def made() -> Iterator[pl.DataFrame]:
        yield from batches

    return lazy_frame(SCHEMA, made), pl.concat([pl.DataFrame(schema=SCHEMA), *batches])


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 12), st.integers(0, 12))
def test_every_query_gives_what_it_gives_of_the_rows_in_memory(
    sizes: list[int], few: int, least: int
) -> None:
    lazy, whole = frame_of(sizes)
    queries: list[Query] = [
        lambda frame: frame,
        lambda frame: frame.select("text"),
        lambda frame: frame.select(pl.len()),
        lambda frame: frame.with_row_index("row", offset=1),
        lambda frame: frame.with_row_index("row", offset=1).select("row"),
        lambda frame: frame.head(few),
        lambda frame: frame.filter(pl.col("n") >= least),
        lambda frame: frame.filter(pl.col("n") >= least).head(few).select("text"),
        lambda frame: frame.head(few).filter(pl.col("n") >= least).select("text"),
        lambda frame: frame.with_row_index("row").filter(pl.col("n") >= least).select("row"),
    ]
    for query in queries:
        expected = query(whole.lazy()).collect()
        assert query(lazy).collect(engine="streaming").equals(expected)
        assert query(lazy).collect().equals(expected)


def test_no_batch_is_made_beyond_the_rows_that_are_asked_for() -> None:
    made = 0

    def batches() -> Iterator[pl.DataFrame]:
        nonlocal made
        for _ in range(100):
            made += 1
            yield pl.DataFrame({"n": [1, 2, 3]})

    assert lazy_frame({"n": pl.Int64()}, batches).head(4).collect().height == 4
    assert made == 2
