"""Rejected rows: what was left out, why, and where it stands in the source."""

from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

REJECTED = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # in the file, from 1; of a text file its line
        pa.field("rule", pa.string(), nullable=False),
        pa.field("column", pa.string()),  # the column at fault, null where it is the whole record
        pa.field("value", pa.string()),  # what it held
        pa.field("record", pa.string(), nullable=False),  # the whole record, as text or JSON
    ]
)
"""One row per rejected row of a source."""


class RejectedRows:
    """Writes rejected rows to <folder>/<table>.parquet as they are found; a table without any has no file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def add(self, table: str, path: Path, rows: pl.DataFrame) -> None:
        """Adds rows of `row, rule, column, value, record`, found in the file `path`."""
        if rows.height == 0:
            return
        if table not in self._writers:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writers[table] = pq.ParquetWriter(
                self._folder / f"{table}.parquet", REJECTED, compression="zstd"
            )
        named = rows.with_columns(pl.lit(str(path)).alias("file")).select(REJECTED.names)
        self._writers[table].write_table(named.to_arrow().cast(REJECTED))

    def __enter__(self) -> "RejectedRows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()
