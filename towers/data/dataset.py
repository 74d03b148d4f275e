"""Tables → Dataset: catalogue rows, profile rows and packed histories in time order."""

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from towers.data.histories import Histories
from towers.data.schema import Tables, validate
from towers.data.vocabulary import Vocabulary
from towers.errors import SchemaError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dataset:
    """One service's catalogue and behaviour in dense rows.

    items: the items table; its row order is the catalogue's.
    catalogue: Vocabulary of item ids, in that order.
    profiles: Vocabulary of profile ids, in the order of the profiles table.
    history: Histories of all profiles, oldest event first; one event per (profile, item), the first.
    country: str (P,), the profile's own country, "" where the table has none. That of an event is not taken
    for it: the event may lie after a cut-off.
    """

    items: pa.Table
    catalogue: Vocabulary
    profiles: Vocabulary
    history: Histories
    country: np.ndarray


def dataset_from_tables(tables: Tables) -> Dataset:
    """The Dataset of validated tables.

    Events are ordered by start within a profile; events of one millisecond keep the order of the source. A
    repeated watch of an item is left to its first event, so that no later knowledge leaks into it; the
    count of repeats is logged. Raises SchemaError on tables that break their schema or have no items.
    """
    validate(tables)
    if tables.items.num_rows == 0:
        raise SchemaError("tables: items is empty; expected at least one title")
    catalogue = Vocabulary(tables.items["item_id"].to_pylist())
    profiles = Vocabulary(tables.profiles["profile_id"].to_pylist())
    history = _histories(tables, catalogue, profiles)
    return Dataset(tables.items, catalogue, profiles, history, _country(tables.profiles))


def rows_of(column: pa.ChunkedArray, target: pa.ChunkedArray) -> np.ndarray:
    """int64 (n,): the place of each value in `target`, whose values are unique; -1 where it is not there."""
    found = pc.index_in(column, value_set=target.combine_chunks())
    rows: np.ndarray = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    return rows


def _histories(tables: Tables, catalogue: Vocabulary, profiles: Vocabulary) -> Histories:
    events = tables.events
    profile_row = rows_of(events["profile_id"], tables.profiles["profile_id"])
    item_row = rows_of(events["item_id"], tables.items["item_id"])
    start_ms = events["start"].cast(pa.int64()).to_numpy()
    minutes = pc.fill_null(events["minutes_watched"], float("nan")).to_numpy().astype(np.float32)

    order = np.lexsort((start_ms, profile_row))  # lexsort is stable: equal times keep the source's order
    profile_row, item_row, start_ms, minutes = (a[order] for a in (profile_row, item_row, start_ms, minutes))
    first = np.sort(np.unique(profile_row * len(catalogue) + item_row, return_index=True)[1])
    if len(first) < len(profile_row):
        log.info("repeated watches left to their first event num_repeats=%d", len(profile_row) - len(first))
    counts = np.bincount(profile_row[first], minlength=len(profiles))
    return Histories(
        offset=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)]),
        item_row=item_row[first],
        time_seconds=start_ms[first] // 1000,
        minutes=minutes[first],
    )


def _country(profiles: pa.Table) -> np.ndarray:
    codes = [code or "" for code in profiles["country"].to_pylist()]
    return np.array(codes, dtype=np.str_) if codes else np.zeros(0, dtype="<U2")
