"""Tables → Dataset: catalogue rows, profile rows and packed histories in time order."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from towers.data.histories import Histories
from towers.data.order import stable_order
from towers.data.schema import Tables, read_table, validate, validate_table
from towers.data.signals.apply import Events, titles_of, watched
from towers.data.signals.settings import SignalSettings
from towers.data.store import open_store
from towers.data.titles import Titles, TitlesOfFile, read_titles
from towers.data.vocabulary import Vocabulary
from towers.errors import SchemaError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dataset:
    """One service's catalogue and behaviour in dense rows.

    titles: the items table; its row order is the catalogue's.
    catalogue: Vocabulary of item ids, in that order.
    profiles: Vocabulary of profile ids, in the order of the profiles table.
    history: Histories of all profiles, oldest event first; one event per (profile, item), the first.
    repeats: Histories of the same profiles: the later events of these pairs.
    country: str (P,), the profile's own country, "" where the table has none. That of an event is not taken
    for it: the event may lie after a cut-off.
    profile_table: the profiles table, in the order of `profiles`.
    """

    titles: Titles
    catalogue: Vocabulary
    profiles: Vocabulary
    history: Histories
    repeats: Histories
    country: np.ndarray
    profile_table: pa.Table

    @property
    def items(self) -> pa.Table:
        """The whole items table."""
        return self.titles.table


def read_dataset(folder: Path, signals: SignalSettings, *, titles_in_part: bool = False) -> Dataset:
    """The Dataset of a folder of ingested tables; its histories are memory-mapped, whatever their size.

    titles_in_part: of titles the ids are read, and all else when it is asked for; that no id stands twice is
    for the caller to see to (`Titles.require_unique_ids`). Raises MissingDataError where a table is not
    there, SchemaError where one is damaged, as far as it is read.
    """
    titles = TitlesOfFile(folder) if titles_in_part else read_titles(folder)
    profiles = read_table(folder, "profiles")
    validate_table("profiles", profiles, str(folder))
    store = open_store(folder, titles, signals)
    return _dataset(titles, profiles, store.history, store.repeats)


def dataset_from_tables(tables: Tables, signals: SignalSettings | None = None) -> Dataset:
    """The Dataset of tables in memory, the same as ingest and `read_dataset` would make of them.

    Events are ordered by start within a profile; events of one millisecond keep the order of the table.
    Raises SchemaError on tables that break their schema or have no items.
    """
    validate(tables)
    if tables.items.num_rows == 0:
        raise SchemaError("tables: items is empty; expected at least one title")
    signals = signals or SignalSettings()
    found = watched(_events(tables), titles_of(tables.items, signals), signals)
    log.info(
        "read histories num_events=%d num_repeats=%d num_accidents=%d",
        *(found.history.num_events, found.repeats.num_events, found.num_accidents),
    )
    return _dataset(Titles(tables.items), tables.profiles, found.history, found.repeats)


def _dataset(titles: Titles, profiles: pa.Table, history: Histories, repeats: Histories) -> Dataset:
    """Of tables that were validated: no id stands twice."""
    return Dataset(
        titles=titles,
        catalogue=Vocabulary.of_unique(titles.ids),
        profiles=Vocabulary.of_unique(profiles["profile_id"]),
        history=history,
        repeats=repeats,
        country=_country(profiles),
        profile_table=profiles,
    )


def rows_of(column: pa.ChunkedArray, target: pa.ChunkedArray) -> np.ndarray:
    """int64 (n,): the place of each value in `target`, whose values are unique; -1 where it is not there."""
    found = pc.index_in(column, value_set=target.combine_chunks())
    rows: np.ndarray = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    return rows


def _events(tables: Tables) -> Events:
    """The events by profile, then start; equal starts as they stand."""
    table = tables.events
    profile_row = rows_of(table["profile_id"], tables.profiles["profile_id"])
    item_row = rows_of(table["item_id"], tables.items["item_id"])
    start_ms = table["start"].cast(pa.int64()).to_numpy()
    order = stable_order(profile_row, start_ms)
    numbers = {
        name: pc.fill_null(table[name], float("nan")).to_numpy()[order]
        for name in ("minutes_watched", "completion", "stars")
    }
    return Events(
        num_events=np.bincount(profile_row, minlength=tables.profiles.num_rows),
        item_row=item_row[order],
        start_ms=start_ms[order],
        minutes=numbers["minutes_watched"],
        completion=numbers["completion"],
        plays=pc.fill_null(table["plays"], 0).to_numpy()[order],
        stars=numbers["stars"],
    )


def _country(profiles: pa.Table) -> np.ndarray:
    codes = [code or "" for code in profiles["country"].to_pylist()]
    return np.array(codes, dtype=np.str_) if codes else np.zeros(0, dtype="<U2")
