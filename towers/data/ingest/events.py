"""Checked events → spilled by profile: what fits in memory is sorted later, one share of profiles at a time.

The partition pass of a Grace hash join (Kitsuregawa et al. 1983, doi:10.1007/BF03037022): a profile's events
all lie in one share, in the order of the source, and no pass holds more than a batch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Int64

from towers.data.ahead import computed_ahead
from towers.data.id_index import IdIndex
from towers.data.ingest.check import ITEM_ROW, Ledger, checked
from towers.data.ingest.entities import bare
from towers.data.ingest.places import with_places
from towers.data.ingest.report import Outcome, Rule
from towers.data.ingest.rules import Policy
from towers.data.raw import ROW, TEXT, RawTable

FILE = "source_file"
_HASH_SEED = 1


def share_of(profile_id: pl.Series, num_shares: int) -> np.ndarray:
    """uint8 or uint16 (n,): the share of each profile, even over profiles, the same wherever an id stands."""
    narrow = pl.UInt8 if num_shares <= 1 << 8 else pl.UInt16  # the fewer bytes, the faster NumPy sorts them
    share: np.ndarray = (profile_id.hash(_HASH_SEED) % num_shares).cast(narrow).to_numpy()
    return share


@dataclass(slots=True)
class Items:
    """The titles that events may name, growing where the policy adds unknown ones.

    known: the rows of the items table so far; released_ms: int64 (N,), the start of the year of release.
    """

    known: pl.DataFrame
    grows: bool
    released_ms: Int64[np.ndarray, " N"] = field(init=False)
    _index: IdIndex = field(init=False)

    def __post_init__(self) -> None:
        self._look_at_known()

    def rows(self, item_id: pl.Series, ledger: Ledger) -> pl.Series:
        """Int32: the row of each id, null where unknown; unknown ids are added first where they may be."""
        row = self._index.rows(item_id)
        if self.grows and (row < 0).any():
            new = item_id.filter(pl.Series(row < 0)).drop_nulls().unique(maintain_order=True)
            ledger.added["items"] += len(new)
            self.known = pl.concat([self.known, bare("items", new)])
            self._look_at_known()
            row = self._index.rows(item_id)
        found = pl.Series(ITEM_ROW, row)
        return found.set(found < 0, None)

    def _look_at_known(self) -> None:
        self._index = IdIndex(self.known["item_id"])
        year = self.known["release_year"].fill_null(1678).cast(pl.Int64).to_numpy()
        self.released_ms = (year - 1970).astype("datetime64[Y]").astype("datetime64[ms]").astype(np.int64)


class Spill:
    """Events on disk, one Arrow file per batch, sorted by share within each."""

    def __init__(self, folder: Path, num_shares: int) -> None:
        self._folder = folder
        self.num_shares = num_shares
        self._written: list[tuple[int, np.ndarray]] = []

    def fill(self, batches: Iterable[pl.DataFrame]) -> None:
        """Writes batches of events, while the next ones are read; their order stays within a share.

        batches: each of one file of the source, by FILE.
        """
        self._written = list(computed_ahead(self._write, enumerate(batches)))

    def _write(self, numbered: tuple[int, pl.DataFrame]) -> tuple[int, np.ndarray]:
        """The FILE of one batch, and where each share ends in its file here, from 0."""
        place, events = numbered
        file = int(events[FILE][0])
        events = events.drop(FILE)
        share = share_of(events["profile_id"], self.num_shares)
        order = np.argsort(share, kind="stable")
        count = np.bincount(share, minlength=self.num_shares)
        sorted_events = events[order].to_arrow(compat_level=pl.CompatLevel.oldest())
        with (
            pa.OSFile(str(self._path(place)), "wb") as sink,
            pa.ipc.new_file(sink, sorted_events.schema) as writer,
        ):
            writer.write_table(sorted_events.combine_chunks())
        return file, np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])

    def share(self, number: int) -> pa.Table:
        """All events of one share, in the order of the source; read from mapped files."""
        parts = []
        for place, (file, bounds) in enumerate(self._written):
            start, stop = int(bounds[number]), int(bounds[number + 1])
            if stop > start:
                with pa.memory_map(str(self._path(place))) as source:
                    part = pa.ipc.open_file(source).read_all().slice(start, stop - start)
                parts.append(part.append_column(FILE, pa.repeat(pa.scalar(file, pa.uint32()), len(part))))
        if not parts:
            return pa.table({})
        # Columns that only some files have are null in the others.
        return pa.concat_tables(parts, promote_options="default").combine_chunks()

    def _path(self, place: int) -> Path:
        return self._folder / f"{place:06d}.arrow"


def kept_events(raws: tuple[RawTable, ...], items: Items, ledger: Ledger) -> Iterator[pl.DataFrame]:
    """The events that keep the rules on their own and against the items, in batches as they are spilled."""
    for place, raw in enumerate(raws):
        for batch in checked("events", raw, ledger):
            kept = known_items("events", raw, batch, items, ledger)
            kept = _not_before_release(raw, kept, items, ledger)
            if kept.height:
                kept = with_places("events", raw, kept, ledger)
            if kept.height:
                yield _slim(kept).with_columns(pl.lit(place, pl.UInt32).alias(FILE))


def known_items(table: str, raw: RawTable, batch: pl.DataFrame, items: Items, ledger: Ledger) -> pl.DataFrame:
    """The batch with ITEM_ROW, without the rows that name a title which is not there."""
    batch = batch.with_columns(items.rows(batch["item_id"], ledger))
    unknown = batch[ITEM_ROW].is_null() & batch["item_id"].is_not_null()
    if not unknown.any():
        return batch
    rows = batch.filter(unknown)
    if ledger.rules.unknown_item is Policy.REJECT_FILE:
        ledger.refuse(table, Rule.UNKNOWN_ITEM, "item_id", raw, rows)
    ledger.reject(table, Rule.UNKNOWN_ITEM, "item_id", raw, rows)
    return batch.filter(~unknown)


def known_profiles(raw: RawTable, batch: pl.DataFrame, profiles: IdIndex, ledger: Ledger) -> pl.DataFrame:
    """The queries without those of profiles that are not in the profiles table, unless these are added."""
    unknown = batch["profile_id"].is_not_null() & pl.Series(profiles.rows(batch["profile_id"]) < 0)
    rows = batch.filter(unknown)
    match ledger.rules.unknown_profile:
        case Policy.REPAIR:
            ledger.count("queries", Rule.UNKNOWN_PROFILE, "profile_id", Outcome.REPAIRED, rows.height)
            return batch
        case Policy.REJECT_FILE if rows.height:
            ledger.refuse("queries", Rule.UNKNOWN_PROFILE, "profile_id", raw, rows)
    ledger.reject("queries", Rule.UNKNOWN_PROFILE, "profile_id", raw, rows)
    return batch.filter(~unknown)


def _not_before_release(raw: RawTable, batch: pl.DataFrame, items: Items, ledger: Ledger) -> pl.DataFrame:
    start = batch["start"].dt.epoch("ms").to_numpy()
    early = start < items.released_ms[batch[ITEM_ROW].to_numpy()]
    num_early = int(early.sum())
    if not num_early:
        return batch
    if ledger.rules.time_travel is Policy.WARN:
        ledger.count("events", Rule.TIME_TRAVEL, "start", Outcome.WARNED, num_early)
        return batch
    rows = batch.filter(pl.Series(early))
    if ledger.rules.time_travel is Policy.REJECT_FILE:
        ledger.refuse("events", Rule.TIME_TRAVEL, "start", raw, rows)
    ledger.reject("events", Rule.TIME_TRAVEL, "start", raw, rows)
    return batch.filter(pl.Series(~early))


def _slim(batch: pl.DataFrame) -> pl.DataFrame:
    """Only what the second pass needs: the item by its row, and no column without a value."""
    batch = batch.drop("item_id", TEXT, strict=False)
    needed = {"profile_id", ITEM_ROW, "start", ROW}
    return batch.select(
        name for name in batch.columns if name in needed or batch[name].null_count() < batch.height
    )
