"""What a source knows beyond the declared columns, as the schema's `attributes`."""

from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from towers.data.schema import ATTRIBUTES

_TYPE = pl.List(pl.Struct({"name": pl.String(), "value": pl.String()}))


def attributes(columns: Mapping[str, str]) -> pl.Expr:
    """The column `attributes`, with one name → value for each of these columns that has a value in the row.

    columns: name of the attribute → column. Null where a row has none of them.
    """
    if not columns:
        return pl.lit(None, _TYPE).alias("attributes")
    values = pl.struct(pl.col(column).cast(pl.String).alias(name) for name, column in columns.items())
    return values.map_batches(_listed, return_dtype=_TYPE, is_elementwise=True).alias("attributes")


def _listed(rows: pl.Series) -> pl.Series:
    """Rows of a struct of texts → per row the list of its fields that have a value."""
    # Built whole in Arrow: of thirty columns, Polars takes a hundred times as long to make lists of structs.
    fields = rows.struct.unnest()
    num_rows, num_fields = fields.shape
    by_field = pl.concat([field.rename("") for field in fields])
    # Field by field → row by row.
    by_row = by_field[np.arange(num_rows * num_fields).reshape(num_fields, num_rows).T.reshape(-1)]
    given = (by_row != "").fill_null(False)
    names = pl.Series(np.tile(np.arange(num_fields), num_rows)).gather(given.arg_true())
    per_row = given.to_numpy().reshape(num_rows, num_fields).sum(axis=1)
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(per_row, dtype=np.int32)])
    pairs = pa.StructArray.from_arrays(
        [
            pa.array(fields.columns, pa.string()).take(names.to_arrow()),
            by_row.filter(given).to_arrow().cast(pa.string()),
        ],
        fields=list(ATTRIBUTES.value_type),
    )
    none = np.concatenate([per_row == 0, [False]])
    lists = pa.ListArray.from_arrays(pa.array(offsets, mask=none), pairs)
    return pl.Series(rows.name, lists, dtype=_TYPE)
