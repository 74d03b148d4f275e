"""Raw items and profiles → checked tables, each id once."""

import polars as pl

from towers.data.ingest.check import Ledger, checked, empty_columns
from towers.data.ingest.places import with_places, with_territories
from towers.data.ingest.report import Outcome, Rule
from towers.data.ingest.rules import Policy
from towers.data.raw import ROW, RawTable
from towers.data.schema import SCHEMAS
from towers.errors import SchemaError

_FILE = "source_file"


def read_entities(table: str, raws: tuple[RawTable, ...], ledger: Ledger) -> pl.DataFrame:
    """All rows of `items` or `profiles` that keep the rules, columns as in the schema, each id once.

    Of a repeated id the first row is kept. An episode of a series that is not there loses its series_id.
    """
    key = "item_id" if table == "items" else "profile_id"
    parts = [
        empty_columns(table, batch).with_columns(batch[ROW], pl.lit(place, pl.UInt32).alias(_FILE))
        for place, raw in enumerate(raws)
        for batch in (
            with_territories(raw, with_places(table, raw, each, ledger), ledger)
            for each in checked(table, raw, ledger)
        )
    ]
    if not parts:
        return no_entities(table)
    rows = pl.concat(parts)
    first = rows[key].is_first_distinct()
    for place, raw in enumerate(raws):
        repeated = rows.filter(~first & (pl.col(_FILE) == place)).drop(_FILE)
        if repeated.height and ledger.rules.duplicate_id is Policy.REJECT_FILE:
            ledger.refuse(table, Rule.DUPLICATE_ID, key, raw, repeated)
        ledger.reject(table, Rule.DUPLICATE_ID, key, raw, repeated)
    rows = rows.filter(first).drop(ROW, _FILE)
    return _with_known_series(rows, ledger) if table == "items" else rows


def no_entities(table: str) -> pl.DataFrame:
    """An empty frame with the columns of a table."""
    empty: pl.DataFrame = pl.DataFrame(pl.from_arrow(SCHEMAS[table].empty_table()))
    return empty


def bare(table: str, ids: pl.Series) -> pl.DataFrame:
    """Rows of which only the id is known; a title is shown by its id."""
    named = {"item_id": ids, "title": ids} if table == "items" else {"profile_id": ids}
    return empty_columns(table, pl.DataFrame(named))


def _with_known_series(items: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    series = pl.col("series_id")
    is_series = series.is_null() & pl.col("item_id").is_in(items["series_id"].drop_nulls().unique().implode())
    titles = items.filter(is_series)["item_id"]
    orphan = series.is_not_null() & ~series.is_in(titles.implode())
    num_orphans = items.select(orphan.sum()).item()
    ledger.count("items", Rule.UNKNOWN_ITEM, "series_id", Outcome.REPAIRED, num_orphans)
    return items.with_columns(pl.when(~orphan.fill_null(False)).then(series).alias("series_id"))


def check_any(items: pl.DataFrame, where: str, ledger: Ledger) -> None:
    """Raises SchemaError where there is no title at all, with what most of those that were read broke."""
    if items.height == 0:
        lost = [one for one in ledger.counts if one.table == "items" and one.outcome is Outcome.REJECTED]
        most = max(lost, key=lambda one: one.num_rows, default=None)
        reason = "" if most is None else f": {most.rule} of {most.column}, first at {most.example}"
        raise SchemaError(
            f"{where}: no title was accepted of {ledger.num_read['items']:,} that were read{reason}; "
            "expected at least one"
        )
