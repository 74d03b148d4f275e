"""What every profile had watched when a release was made: the histories that it answers from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.id_table import IdTable
from retrieval.profile_store import store_table, stored_table
from towers.data.columns import source_column
from towers.data.dataset import Dataset
from towers.data.histories import Histories
from towers.data.privacy.sealed import StoreKeys
from towers.data.vocabulary import OOV, Vocabulary
from towers.errors import SchemaError

log = logging.getLogger(__name__)

_WEIGHT = "weight"
"""Of each event; the column is there where the release answers by it."""
_FEATURE = "feature."
"""Before the name of a column that the towers read: it may be any, also one of those below."""

# Lists are large (64-bit offsets): all events of a service together pass 2^31.
PROFILES = pa.schema(
    [
        pa.field("profile_id", pa.string(), nullable=False),
        pa.field("country", pa.string(), nullable=False),  # "" where unknown
        pa.field("item_id", pa.large_list(pa.string()), nullable=False),  # oldest first
        pa.field("time_seconds", pa.large_list(pa.int64()), nullable=False),
        pa.field("minutes", pa.large_list(pa.float32()), nullable=False),  # NaN where the log has none
    ]
)


@dataclass(frozen=True, slots=True)
class ProfileHistories:
    """P profiles as a release knows them.

    profiles: Vocabulary of their ids. history: Histories of the P, item rows of the release's catalogue.
    country: str (P,), "" where unknown. as_of_seconds: the newest event, Unix seconds; 0 without events.
    features: the columns of profiles that the towers read beside it, a row per profile; None where there are
    none.
    """

    profiles: Vocabulary
    history: Histories
    country: np.ndarray
    as_of_seconds: int
    features: pa.Table | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of `features`."""
        return () if self.features is None else tuple(self.features.column_names)


def write_profiles(
    dataset: Dataset,
    path: Path,
    columns: Sequence[str] = (),
    *,
    weighted: bool = False,
    store_keys: StoreKeys | None = None,
) -> None:
    """Writes the histories of all profiles of a Dataset as one file: `profiles_table`, by `store_table`."""
    store_table(profiles_table(dataset, columns, weighted=weighted), path, store_keys)


def profiles_table(dataset: Dataset, columns: Sequence[str] = (), *, weighted: bool = False) -> pa.Table:
    """The histories of all profiles of a Dataset as a table; item ids, not rows.

    columns: those of the profiles table that the model reads, attributes among them; no other is written.
    weighted: with the weight of each event, for a model that reads it of a query.
    """
    history = dataset.history
    offset = pa.array(history.offset, pa.int64())
    item_id = dataset.titles.ids.combine_chunks().take(pa.array(history.item_row))
    arrays = [
        pa.array(dataset.profiles.ids, pa.string()),
        pa.array(dataset.country.tolist(), pa.string()),
        pa.LargeListArray.from_arrays(offset, item_id),
        pa.LargeListArray.from_arrays(offset, pa.array(history.time_seconds)),
        pa.LargeListArray.from_arrays(offset, pa.array(history.minutes, pa.float32())),
    ]
    written = pa.Table.from_arrays(arrays, schema=PROFILES)
    if weighted:
        weight = pa.LargeListArray.from_arrays(offset, pa.array(history.weight, pa.float32()))
        written = written.append_column(_WEIGHT, weight)
    for column in columns:
        values = source_column(dataset.profile_table, column)
        written = written.append_column(f"{_FEATURE}{column}", values)
    return written


def read_profiles(
    path: Path,
    catalogue: Vocabulary | IdTable,
    store_keys: StoreKeys | None = None,
    *,
    release_id: str | None = None,
) -> ProfileHistories:
    """Reads back what `write_profiles` wrote, on the rows of a catalogue.

    store_keys, release_id: as in `stored_table`, which raises what it says there where a file is sealed.
    Events of items that the catalogue lacks are left out, and their count is logged. Raises SchemaError
    where the columns are others, lists of one profile differ in length, or a profile stands twice.
    """
    try:
        whole = stored_table(path, store_keys, release_id=release_id)
        weighted = _WEIGHT in whole.column_names
        wanted = PROFILES.append(pa.field(_WEIGHT, pa.large_list(pa.float32()))) if weighted else PROFILES
        table = whole.select(wanted.names).cast(wanted).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
        raise SchemaError(f"{path}: {error}; expected the columns {PROFILES.names}") from error
    lists = ("item_id", "time_seconds", "minutes", *([_WEIGHT] if weighted else []))
    lengths = {name: _lengths(table[name]) for name in lists}
    if any(not np.array_equal(lengths["item_id"], other) for other in lengths.values()):
        raise SchemaError(f"{path}: {', '.join(lists)} of a profile differ in length")
    watched = pc.list_flatten(table["item_id"]).cast(pa.large_string()).combine_chunks()
    item_row = catalogue.rows_of(watched)
    known = item_row != OOV
    if not known.all():
        log.info("events of items outside the catalogue left out num_events=%d", int((~known).sum()))
    profile_row = np.repeat(np.arange(table.num_rows), lengths["item_id"])[known]
    counts = np.bincount(profile_row, minlength=table.num_rows)
    history = Histories(
        offset=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)]),
        item_row=item_row[known],
        time_seconds=pc.list_flatten(table["time_seconds"]).to_numpy()[known],
        minutes=pc.list_flatten(table["minutes"]).to_numpy()[known],
        weight=_weight(table, known),
    )
    return ProfileHistories(
        profiles=Vocabulary(table["profile_id"].to_pylist()),
        history=history,
        country=np.array(table["country"].to_pylist(), dtype=np.str_),
        as_of_seconds=int(history.time_seconds.max(initial=0)),
        features=_features(whole),
    )


def _weight(table: pa.Table, known: np.ndarray) -> np.ndarray:
    if _WEIGHT not in table.column_names:
        return np.ones(int(known.sum()), np.float32)
    weight: np.ndarray = pc.list_flatten(table[_WEIGHT]).to_numpy()[known]
    return weight


def _features(whole: pa.Table) -> pa.Table | None:
    names = [name for name in whole.column_names if name.startswith(_FEATURE)]
    if not names:
        return None
    renamed = whole.select(names).rename_columns([name.removeprefix(_FEATURE) for name in names])
    return renamed.combine_chunks()


def _lengths(lists: pa.ChunkedArray) -> np.ndarray:
    lengths: np.ndarray = pc.list_value_length(lists).to_numpy()
    return lengths
