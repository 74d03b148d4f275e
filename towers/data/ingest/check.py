"""Batches of a raw table → typed rows that keep every rule on their values, and the rows that do not."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from towers.data.ingest.columns import Reading, frame_type, readings
from towers.data.ingest.rejected import RejectedRows
from towers.data.ingest.report import Count, Outcome, Rule
from towers.data.ingest.rules import Policy, RuleSettings
from towers.data.privacy.guard import Guard
from towers.data.raw import FAULT, ROW, TEXT, RawTable
from towers.data.schema import SCHEMAS
from towers.errors import SchemaError

ITEM_ROW = "item_row"
"""Beside the columns of an event: the row of its title. It is not of the source."""
NOT_ENCODED = "not "
"""How the FAULT of a record begins whose bytes are no text in the declared encoding."""

_BATCH_ROWS = 1 << 19
_SHOWN_CHARACTERS = 80


@dataclass(slots=True)
class Ledger:
    """What is counted and put aside while a source is read: one for all tables.

    num_read: rows found, by table. added: rows made for ids that only other tables name. guard: what is kept
    of people; of rejected rows too.
    """

    rules: RuleSettings
    rejected: RejectedRows
    guard: Guard = field(default_factory=Guard)
    num_read: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    _counts: Counter[tuple[str, str, str, Outcome]] = field(default_factory=Counter)
    _examples: dict[tuple[str, str, str, Outcome], str] = field(default_factory=dict)

    def count(self, table: str, rule: Rule | str, column: str, outcome: Outcome, num_rows: int) -> None:
        """Counts rows that broke a rule."""
        if num_rows:
            self._counts[table, str(rule), column, outcome] += num_rows

    def reject(self, table: str, rule: Rule, column: str, raw: RawTable, rows: pl.DataFrame) -> None:
        """Leaves out rows of a raw table by one rule: counts and writes them.

        rows: ROW, and TEXT or the columns that make up the record.
        """
        if rows.height == 0:
            return
        self.count(table, rule, column, Outcome.REJECTED, rows.height)
        key = (table, str(rule), column, Outcome.REJECTED)
        self._examples.setdefault(key, f"{raw.path}:{rows[ROW][0]}")
        self.rejected.add(table, raw.path, self._described(table, rows, rule, column))

    def refuse(self, table: str, rule: Rule, column: str, raw: RawTable, rows: pl.DataFrame) -> None:
        """Raises SchemaError where the policy refuses the file over these rows."""
        first = self._described(table, rows.head(1), rule, column).row(0, named=True)
        shown = first["value"] if first["value"] is not None else first["record"]
        is_shown = "is withheld" if self.guard.withholds(table) else f"is {_shown(shown)}"
        raise SchemaError(
            f"{raw.path}:{first['row']}: {column or 'the record'} {is_shown} ({rule}, {rows.height} "
            f"such rows up to here); rules.{rule}=reject_file refuses the file"
        )

    def _described(self, table: str, rows: pl.DataFrame, rule: Rule, column: str) -> pl.DataFrame:
        described = _as_rejected(rows, rule, column)
        if not self.guard.withholds(table):
            return described
        return described.with_columns(value=pl.lit(None, pl.String), record=pl.lit(""))

    @property
    def counts(self) -> tuple[Count, ...]:
        """Everything counted, in a fixed order."""
        return tuple(
            Count(*key, num_rows, self._examples.get(key)) for key, num_rows in sorted(self._counts.items())
        )


def checked(table: str, raw: RawTable, ledger: Ledger) -> Iterator[pl.DataFrame]:
    """The rows of one raw table in batches: ROW, the columns it has in their schema types, TEXT.

    Rows that break a rule on their own values are rejected or repaired as the policies say; what the guard
    does not let through is left out, and ids of people are those that it gives; bounded memory.
    Raises SchemaError where a policy refuses the file.
    """
    columns = readings(table, raw, ledger.rules.clock_ms())
    required = [item.name for item in SCHEMAS[table] if not item.nullable]
    missing = [name for name in required if name not in {reading.name for reading in columns}]
    if missing:
        found = ", ".join(
            name for name in raw.frame.collect_schema().names() if name not in (ROW, FAULT, TEXT)
        )
        raise SchemaError(f"{raw.path}: has {found}; expected columns for {', '.join(missing)} of {table}")
    for batch in raw.frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True, engine="streaming"):
        ledger.num_read[table] += batch.height
        kept = ledger.guard.kept(table, _checked(table, raw, batch, columns, required, ledger))
        for rule, num_rows in kept.withheld.items():
            ledger.count(table, rule, "", Outcome.WITHHELD, num_rows)
        yield kept.rows


def empty_columns(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with every column of the schema, in its order and type; those it lacked are null."""
    return frame.select(
        (pl.col(item.name) if item.name in frame.columns else pl.lit(None))
        .cast(frame_type(item.type))
        .alias(item.name)
        for item in SCHEMAS[table]
    )


def _checked(
    table: str,
    raw: RawTable,
    batch: pl.DataFrame,
    columns: list[Reading],
    required: list[str],
    ledger: Ledger,
) -> pl.DataFrame:
    batch = _taken_apart(table, raw, batch, ledger)
    kept = [name for name in (ROW, TEXT) if name in batch.columns]
    read = batch.select(*kept, *(_cheapest(reading).alias(reading.name) for reading in columns))
    read = read.with_columns(
        batch.select(reading.value.alias(reading.name)).to_series()
        for reading in columns
        if reading.quick is not None and _has_lost(reading.name, read, batch)
    )
    # A value at fault is read as null where the source has none: most columns have no more nulls than before.
    flags = {
        (rule, reading.name): fault.alias(f"{rule} {reading.name}")
        for reading in columns
        for rule, fault in reading.faults.items()
        if _has_lost(reading.name, read, batch)
    }
    flagged = batch.select(*flags.values())
    num_faults = flagged.sum().row(0) if flags else ()
    gone = (
        pl.Series([False]).new_from_index(0, read.height) if read.height else pl.Series([], dtype=pl.Boolean)
    )
    by_name = {reading.name: reading for reading in columns}
    for (rule, name), num in zip(flags, num_faults, strict=True):
        if not num:
            continue
        at_fault = flagged[f"{rule} {name}"] & ~gone
        rows = batch.filter(at_fault)
        match _policy(table, rule, ledger.rules):
            case Policy.REJECT_FILE:
                ledger.refuse(table, rule, name, raw, rows)
            case Policy.REPAIR:
                read, unmended = _repaired(read, batch, by_name[name], rule, at_fault, name in required)
                ledger.count(table, rule, name, Outcome.REPAIRED, rows.height - int(unmended.sum()))
                ledger.reject(table, rule, name, raw, batch.filter(unmended))
                gone |= unmended
            case _:
                ledger.reject(table, rule, name, raw, rows)
                gone |= at_fault
    for name in required:
        absent = read[name].is_null() & ~gone
        if absent.any():
            rows = batch.filter(absent)
            if ledger.rules.missing is Policy.REJECT_FILE:
                ledger.refuse(table, Rule.MISSING, name, raw, rows)
            ledger.reject(table, Rule.MISSING, name, raw, rows)
            gone |= absent
    return read.filter(~gone) if gone.any() else read


def _cheapest(reading: Reading) -> pl.Expr:
    return reading.value if reading.quick is None else reading.quick


def _has_lost(column: str, read: pl.DataFrame, batch: pl.DataFrame) -> bool:
    return read[column].null_count() > batch[column].null_count()


def _taken_apart(table: str, raw: RawTable, batch: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """The batch without the records that could not be taken apart, or be read as text."""
    if FAULT not in batch.columns or batch[FAULT].null_count() == batch.height:
        return batch
    encoding = batch[FAULT].str.starts_with(NOT_ENCODED).fill_null(False)
    malformed = batch[FAULT].is_not_null() & ~encoding
    kept = ~malformed
    for rule, at_fault, policy in (
        (Rule.MALFORMED, malformed, ledger.rules.malformed),
        (Rule.ENCODING, encoding, ledger.rules.encoding),
    ):
        rows = batch.filter(at_fault)
        if rows.height == 0:
            continue
        if policy is Policy.REJECT_FILE:
            ledger.refuse(table, rule, "", raw, rows)
        if policy is Policy.REPAIR:
            # The scanner has read such a record as Windows-1252.
            ledger.count(table, rule, "", Outcome.REPAIRED, rows.height)
            continue
        ledger.reject(table, rule, "", raw, rows)
        kept &= ~at_fault
    return batch.filter(kept)


def _policy(table: str, rule: Rule, rules: RuleSettings) -> Policy:
    if rule is Rule.CLOCK:
        return rules.clock
    if table in ("items", "profiles"):
        return rules.metadata
    return rules.type if rule is Rule.TYPE else rules.range


def _repaired(
    read: pl.DataFrame, batch: pl.DataFrame, reading: Reading, rule: Rule, at_fault: pl.Series, required: bool
) -> tuple[pl.DataFrame, pl.Series]:
    """The rows at fault put right, and those of them that could not be."""
    mended = reading.repaired.get(rule)
    if mended is not None:
        value = batch.select(mended.alias(reading.name)).to_series()
        read = read.with_columns(
            pl.when(at_fault).then(value).otherwise(pl.col(reading.name)).alias(reading.name)
        )
        return read, at_fault & value.is_null()
    # Without a better value an optional one is null, as it has been read already.
    return read, at_fault & required


def _as_rejected(rows: pl.DataFrame, rule: Rule, column: str) -> pl.DataFrame:
    own = [name for name in rows.columns if name not in (ROW, FAULT, TEXT, ITEM_ROW)]
    as_json = pl.struct(own).struct.json_encode() if own else pl.lit("{}")
    record = pl.coalesce(pl.col(TEXT), as_json) if TEXT in rows.columns else as_json
    value = pl.col(column).cast(pl.String, strict=False) if column in own else None
    if column in own and isinstance(kind := rows.schema[column], pl.List):
        texts = kind.inner == pl.String
        value = pl.col(column).list.join("|") if texts else pl.struct(column).struct.json_encode()
    if value is None:
        value = pl.col(FAULT) if FAULT in rows.columns else pl.lit(None, dtype=pl.String)
    return rows.select(
        pl.col(ROW).cast(pl.Int64).alias("row"),
        pl.lit(str(rule)).alias("rule"),
        pl.lit(column or None, dtype=pl.String).alias("column"),
        value.alias("value"),
        record.alias("record"),
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")
