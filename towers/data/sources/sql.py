"""SQL queries that DuckDB runs over files, or over a database of its own → lazy frames, batch by batch."""

from collections.abc import Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from towers.data.sources.streamed import lazy_frame
from towers.errors import ConfigError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH_ROWS = 100_000


def scan_sql(query: str, database: str | None, key: str) -> pl.LazyFrame:
    """The rows of a query, in its order; every run of the frame runs it anew, and holds a batch at a time.

    database: a DuckDB file, opened for reading; None for none, where the query names files. key: of the
    setting that holds the query, for messages. Times are in UTC. Raises ConfigError where DuckDB is not
    installed, or cannot run the query.
    """
    batches = _batches(query, database, key)
    schema = next(batches).schema
    batches.close()
    return lazy_frame(dict(schema), partial(_full_batches, query, database, key))


def _full_batches(query: str, database: str | None, key: str) -> Iterator[pl.DataFrame]:
    batches = _batches(query, database, key)
    next(batches)
    yield from batches


def _batches(query: str, database: str | None, key: str) -> Generator[pl.DataFrame, None, None]:
    """An empty frame with the types of the query, then its rows."""
    duckdb = _duckdb(key)
    try:
        connection = _connected(duckdb, database)
        try:
            relation = connection.sql(query)
            if relation is None or len(set(relation.columns)) < len(relation.columns):
                found = "no rows" if relation is None else f"the columns {relation.columns}"
                raise ConfigError(f"{key}: the query gives {found}; expected columns of different names")
            reader = relation.to_arrow_reader(_BATCH_ROWS)
            yield pl.DataFrame(pl.from_arrow(reader.schema.empty_table()))
            for batch in reader:
                yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
        finally:
            connection.close()
    # Arrow tells what fails while the rows are read as an OSError.
    except (duckdb.Error, OSError) as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(f"{key}: {first}; expected a query that DuckDB can run") from error


def _connected(duckdb: Any, database: str | None) -> "DuckDBPyConnection":
    connection: DuckDBPyConnection = (
        duckdb.connect() if database is None else duckdb.connect(database, read_only=True)
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _duckdb(key: str) -> Any:
    # An extra: whoever maps files needs no database.
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{key}: DuckDB is not installed; expected it for SQL: pip install two-tower-retrieval[sql]"
        ) from error
    return duckdb
