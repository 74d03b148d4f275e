"""The training store: histories of all profiles as memory-mapped arrays, made from canonical tables.

Plain .npy files, one per column, that every process maps and none loads: the page cache holds what is in
use, whatever the size of the log.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.lib import format as npy_format

from towers.data.ahead import computed_ahead
from towers.data.histories import Histories
from towers.data.schema import EVENTS, NUM_EVENTS_FILE
from towers.data.signals.apply import Events, titles_of, watched
from towers.data.signals.settings import SignalSettings
from towers.data.titles import Titles
from towers.errors import MissingDataError, SchemaError
from towers.folders import replace_folder

log = logging.getLogger(__name__)

STORE_FOLDER = "store"
"""Inside the folder of the tables it was made from: new tables come without the store of older ones."""
_DESCRIPTION = "store.json"
_FORMAT_VERSION = 1
_HISTORY, _REPEATS = "history", "repeats"
_DTYPES = {"item_row": np.int32, "time_seconds": np.int64, "minutes": np.float32, "weight": np.float32}
_READ = ("item_id", "start", "minutes_watched", "completion", "plays", "stars")


@dataclass(frozen=True, slots=True)
class Store:
    """Memory-mapped histories of P profiles, in the order of the profiles table.

    history: the first event of every profile and title. repeats: the later ones.
    """

    history: Histories
    repeats: Histories


def open_store(tables: Path, titles: Titles, settings: SignalSettings) -> Store:
    """The store of a folder of ingested tables under these signals, built first where there is none yet.

    Raises MissingDataError where the tables are not there, SchemaError where they are damaged.
    """
    folder = tables / STORE_FOLDER
    wanted = {"format_version": _FORMAT_VERSION, "signals": asdict(settings)}
    description = folder / _DESCRIPTION
    if not (description.is_file() and json.loads(description.read_text(encoding="utf-8")) == wanted):
        replace_folder(folder, lambda aside: _build(tables, titles.table, settings, aside, wanted))
    return Store(_open(folder / _HISTORY), _open(folder / _REPEATS))


def _build(
    tables: Path, items: pa.Table, settings: SignalSettings, folder: Path, description: dict[str, object]
) -> None:
    titles = titles_of(items, settings)
    num_accidents = 0
    with _Growing(folder / _HISTORY) as history, _Growing(folder / _REPEATS) as repeats:
        for found in computed_ahead(lambda events: watched(events, titles, settings), _blocks(tables, items)):
            history.add(found.history)
            repeats.add(found.repeats)
            num_accidents += found.num_accidents
    (folder / _DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    log.info(
        "stored histories num_profiles=%d num_events=%d num_repeats=%d num_accidents=%d",
        history.num_profiles, history.num_events, repeats.num_events, num_accidents,
    )  # fmt: skip


def _blocks(tables: Path, items: pa.Table) -> Iterator[Events]:
    """The events of the tables, some whole profiles at a time: as many as a row group of the file ends."""
    counts_path, path = tables / NUM_EVENTS_FILE, tables / "events.parquet"
    for needed in (counts_path, path):
        if not needed.is_file():
            raise MissingDataError(f"{needed}: no such file; run scripts/ingest.py first")
    num_events = np.load(counts_path)
    stop = np.cumsum(num_events)
    item_id = items["item_id"].combine_chunks()
    waiting: list[pa.Table] = []
    done, read, profile = 0, 0, 0
    with pq.ParquetFile(path, read_dictionary=["item_id"]) as file:
        if stop[-1:].sum() != file.metadata.num_rows:
            raise SchemaError(
                f"{path}: {file.metadata.num_rows} events, and {counts_path.name} counts {stop[-1:].sum()}; "
                "expected the same; run scripts/ingest.py again"
            )
        for group in range(file.num_row_groups):
            waiting.append(file.read_row_group(group, columns=list(_READ)))
            read += waiting[-1].num_rows
            end = int(np.searchsorted(stop, read, side="right"))
            whole = int(stop[end - 1]) if end else 0
            if whole == done:
                continue
            rows = pa.concat_tables(waiting)
            yield _events(rows.slice(0, whole - done), num_events[profile:end], item_id, path)
            waiting = [rows.slice(whole - done)]
            done, profile = whole, end
    if profile < len(num_events):
        yield _events(EVENTS.empty_table().select(_READ), num_events[profile:], item_id, path)


def _events(rows: pa.Table, num_events: np.ndarray, item_id: pa.Array, path: Path) -> Events:
    row = [
        pc.index_in(chunk.dictionary, value_set=item_id).take(chunk.indices)
        for chunk in rows["item_id"].chunks
        if len(chunk)
    ]
    item_row = pa.chunked_array(row, pa.int32())
    if item_row.null_count:
        raise SchemaError(f"{path}: {item_row.null_count} events of items that are not in items.parquet")
    return Events(
        num_events=num_events,
        item_row=item_row.to_numpy(),
        start_ms=rows["start"].cast(pa.int64()).to_numpy(),
        minutes=_numbers(rows["minutes_watched"]),
        completion=_known(rows["completion"]),
        plays=None
        if rows["plays"].null_count == rows.num_rows
        else pc.fill_null(rows["plays"], 0).to_numpy(),
        stars=_known(rows["stars"]),
    )


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    numbers: np.ndarray = pc.fill_null(column, float("nan")).to_numpy()
    return numbers


def _known(column: pa.ChunkedArray) -> np.ndarray | None:
    return None if column.null_count == len(column) else _numbers(column)


class _Growing:
    """Histories written to a folder block by block, one .npy file per column."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.num_profiles = self.num_events = 0
        self._offset = _Column(folder / "offset.npy", np.dtype(np.int64))
        self._offset.add(np.zeros(1, np.int64))
        self._columns = {
            name: _Column(folder / f"{name}.npy", np.dtype(dtype)) for name, dtype in _DTYPES.items()
        }

    def add(self, block: Histories) -> None:
        """Appends the histories of further profiles."""
        self._offset.add(block.offset[1:] + self.num_events)
        for name, column in self._columns.items():
            column.add(getattr(block, name))
        self.num_profiles += len(block)
        self.num_events += block.num_events

    def __enter__(self) -> "_Growing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for column in (self._offset, *self._columns.values()):
            column.close()


class _Column:
    """A one-dimensional .npy file that grows: its header has room for any length."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self._file, self._dtype, self._length = path.open("w+b"), dtype, 0
        self._write_header()

    def add(self, values: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._length += len(values)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._length,)}
        npy_format.write_array_header_1_0(self._file, header)


def _open(folder: Path) -> Histories:
    columns = [
        np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray) for name in ("offset", *_DTYPES)
    ]
    return Histories(*columns)
