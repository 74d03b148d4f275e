"""Batches that Python makes one after the other → a lazy frame that is never in memory as a whole."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source


def lazy_frame(schema: Mapping[str, Any], batches: Callable[[], Iterator[pl.DataFrame]]) -> pl.LazyFrame:
    """The rows of `batches()`, in their order; every run of the frame calls it anew.

    Each batch has the columns and types of `schema`, Polars' types by name.
    """

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        for batch in batches():
            # Polars counts n_rows before it filters.
            wanted = batch if n_rows is None else batch.head(n_rows)
            n_rows = None if n_rows is None else n_rows - wanted.height
            if predicate is not None:
                wanted = wanted.filter(predicate)
            # Of no columns at all only the rows are counted, which a frame without columns has lost.
            yield wanted.select(with_columns) if with_columns else wanted
            if n_rows == 0:
                return

    return register_io_source(source, schema=dict(schema))
