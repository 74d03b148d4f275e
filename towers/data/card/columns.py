"""Canonical tables → figures per column: nulls, ranges, and the values that may be shown."""

from pathlib import Path

import polars as pl
import pyarrow as pa

from towers.data.card.counting import count_values, rounded, streamed
from towers.data.card.figures import Column, Named, TableFigures
from towers.data.schema import ATTRIBUTES, LICENCES, SCHEMAS, VECTOR

NUM_TOP = 10
"""Values shown of a column."""

# Ids, and texts that are different in every row: what they are is nobody's business or no use.
_NOT_SHOWN = {
    "items": {"item_id", "title", "synopsis", "series_id"},
    "events": {"profile_id", "item_id"},
    "profiles": {"profile_id", "household_id"},
    "queries": {"profile_id", "item_id"},
}
_DECIMALS = {"rating": 2, "stars": 2, "completion": 2, "minutes_watched": 1, "duration_minutes": 1}


def scan(folder: Path, table: str) -> pl.LazyFrame:
    """A canonical table, read in a stream."""
    return pl.scan_parquet(folder / f"{table}.parquet")


def measure_table(folder: Path, table: str, min_profiles: int) -> TableFigures:
    """The figures of one table.

    A value that tells of profiles (of any table but items) is shown only where `min_profiles` of them share
    it. Memory is that of the distinct values of one column, and of the profiles that have them.
    """
    frame = scan(folder, table)
    schema = SCHEMAS[table]
    counted = streamed(frame.select(pl.len().alias(""), pl.all().null_count())).row(0)
    num_rows = int(counted[0])
    columns = [
        _measure_column(frame, table, field, num_rows, int(num_null), min_profiles)
        for field, num_null in zip(schema, counted[1:], strict=True)
    ]
    return TableFigures(table, num_rows, tuple(columns))


def _measure_column(
    frame: pl.LazyFrame, table: str, field: pa.Field, num_rows: int, num_null: int, min_profiles: int
) -> Column:
    kind = _kind(field.type)
    if num_null == num_rows or field.type == VECTOR:
        return Column(field.name, kind, num_null)
    match kind:
        case "number":
            counts = count_values(frame, rounded(pl.col(field.name), _DECIMALS.get(field.name, 0)))
            return Column(
                field.name,
                kind,
                num_null,
                low=f"{counts.value[0]:.15g}",
                median=f"{counts.median:.15g}",
                high=f"{counts.value[-1]:.15g}",
            )
        case "time":
            time = pl.col(field.name)
            low, high = streamed(frame.select(low=time.min(), high=time.max())).row(0)
            return Column(field.name, kind, num_null, low=f"{low:%Y-%m-%d}", high=f"{high:%Y-%m-%d}")
        case _:
            return _measure_values(frame, table, field, kind, num_null, min_profiles)


def _measure_values(
    frame: pl.LazyFrame, table: str, field: pa.Field, kind: str, num_null: int, min_profiles: int
) -> Column:
    values = _elements(frame, table, field)
    if field.name in _NOT_SHOWN[table]:
        num_distinct = streamed(values.group_by("value").agg().select(pl.len())).item()
        return Column(field.name, kind, num_null, int(num_distinct))
    # Rows of one profile first: whether enough of them share a value is then a count of rows.
    by_owner = values.group_by("value", "owner").agg(num_rows=pl.len())
    counted = streamed(
        by_owner.group_by("value").agg(num_rows=pl.col("num_rows").sum(), num_owners=pl.col("owner").count())
    )
    shared = counted if table == "items" else counted.filter(pl.col("num_owners") >= min_profiles)
    top = shared.sort(["num_rows", "value"], descending=[True, False]).head(NUM_TOP)
    return Column(
        field.name,
        kind,
        num_null,
        counted.height,
        top=tuple(Named(str(row["value"]), int(row["num_rows"])) for row in top.iter_rows(named=True)),
        num_hidden=counted.height - shared.height,
    )


def _elements(frame: pl.LazyFrame, table: str, field: pa.Field) -> pl.LazyFrame:
    """`value` and its `owner`, the profile where the table has one; a row per element of a list."""
    column = pl.col(field.name)
    owner = pl.lit("") if table == "items" else pl.col("profile_id")
    elements = frame.select(value=column, owner=owner)
    if pa.types.is_list(field.type):
        elements = elements.explode("value")
        if field.type == LICENCES:
            country = pl.col("value").struct.field("country")
            everywhere = pl.when(pl.col("value").is_not_null()).then(country.fill_null("everywhere"))
            elements = elements.with_columns(value=everywhere)
        if field.type == ATTRIBUTES:
            # Names alone: what a source adds is not ours to judge as harmless.
            elements = elements.with_columns(value=pl.col("value").struct.field("name"))
    return elements.filter(pl.col("value").is_not_null())


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_timestamp(type_):
        return "time"
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return "number"
    if pa.types.is_boolean(type_):
        return "yes or no"
    if type_ == VECTOR:
        return "vector"
    return "list" if pa.types.is_list(type_) else "text"
