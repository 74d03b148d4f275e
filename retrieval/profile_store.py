"""Where a release keeps its profiles: a Parquet file, in clear or sealed under a store key.

Sealed, it is bound to the release whose folder it lies in, and to its name: it opens in no other. What is
sealed are all bytes of the file, and not its columns (Parquet's own encryption): so nothing of it, its footer
among that, reaches a parser before it proved unchanged, and the release is part of what is proved.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from towers.data.privacy.sealed import StoreKeys, read_sealed, sealed_under, write_sealed

_COMPRESSION = "zstd"


def store_table(table: pa.Table, path: Path, store_keys: StoreKeys | None = None) -> None:
    """Writes a table of a release; sealed under the newest key where there are keys, else in clear."""
    if store_keys is None:
        pq.write_table(table, path, **_written(table.schema))
        return
    clear = pa.BufferOutputStream()
    pq.write_table(table, clear, **_written(table.schema))
    write_sealed(path, clear.getvalue(), store_keys.newest, (path.parent.name, path.name))


def _written(schema: pa.Schema) -> dict[str, Any]:
    """How it is written: ids and times of events are mostly others each, which no dictionary makes less."""
    encoding, coded = {}, []
    for field in schema:
        is_list = pa.types.is_large_list(field.type)
        value, column = (
            (field.type.value_type, f"{field.name}.list.element") if is_list else (None, field.name)
        )
        if value == pa.int64():
            encoding[column] = "DELTA_BINARY_PACKED"
        elif value == pa.string():
            encoding[column] = "DELTA_LENGTH_BYTE_ARRAY"
        else:
            coded.append(column)
    return {"compression": _COMPRESSION, "use_dictionary": coded, "column_encoding": encoding}


def stored_table(
    path: Path,
    store_keys: StoreKeys | None = None,
    columns: Sequence[str] | None = None,
    *,
    release_id: str | None = None,
) -> pa.Table:
    """The table that `store_table` wrote; in clear it is read with and without keys.

    release_id: of the release that it lies in, where its folder has another name. Raises what `read_sealed`
    raises, and pyarrow's errors on what is no Parquet file.
    """
    names = None if columns is None else list(columns)
    if sealed_under(path) is None:
        return pq.read_table(path, columns=names)
    clear = read_sealed(path, store_keys, (release_id or path.parent.name, path.name))
    return pq.read_table(pa.BufferReader(pa.py_buffer(clear)), columns=names)
