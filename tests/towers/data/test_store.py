"""The memory-mapped store holds what reading the same tables into memory gives."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.worlds import block_world, tiny_tables
from towers.data import store
from towers.data.dataset import Dataset, dataset_from_tables, read_dataset
from towers.data.histories import Histories
from towers.data.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import raw_from_tables
from towers.data.schema import Tables, read_tables
from towers.data.signals.settings import SignalSettings
from towers.data.sources.simulated import SimulatedSettings, read_simulated
from towers.errors import MissingDataError, SchemaError

SIGNALS = SignalSettings()


def tables_in(folder: Path, tables: Tables) -> Path:
    ingest.ingest(raw_from_tables(tables), "a test", folder, RuleSettings())
    return folder


def same_histories(found: Histories, expected: Histories) -> None:
    for name in ("offset", "item_row", "time_seconds", "minutes", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def by_profile(dataset: Dataset) -> dict[str, list[tuple[str, int, float]]]:
    ids, history = dataset.catalogue.ids, dataset.history
    return {
        profile: [
            (ids[history.item_row[event]], int(history.time_seconds[event]), float(history.weight[event]))
            for event in range(history.offset[row], history.offset[row + 1])
        ]
        for row, profile in enumerate(dataset.profiles.ids)
    }


@pytest.fixture
def simulated() -> Tables:
    return read_simulated(SimulatedSettings(num_profiles=80, num_items=150, num_events=2000, seed=4))


@pytest.mark.parametrize("share_events", [100, 1_000_000])
def test_a_mapped_dataset_is_the_one_read_into_memory(
    tmp_path: Path, simulated: Tables, share_events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "_SHARE_EVENTS", share_events)
    folder = tables_in(tmp_path / "tables", simulated)
    assert pq.ParquetFile(folder / "events.parquet").num_row_groups == (
        1 if share_events > 2000 else 19
    )  # one of the twenty shares is empty
    mapped, loaded = read_dataset(folder, SIGNALS), dataset_from_tables(read_tables(folder))
    same_histories(mapped.history, loaded.history)
    same_histories(mapped.repeats, loaded.repeats)
    assert mapped.catalogue.ids == loaded.catalogue.ids
    assert mapped.profiles.ids == loaded.profiles.ids
    assert mapped.country.tolist() == loaded.country.tolist()
    # The order of profiles is ingest's own; what each of them watched is the source's.
    assert by_profile(mapped) == by_profile(dataset_from_tables(simulated))


def test_the_columns_are_mapped_and_small(tmp_path: Path) -> None:
    folder = tables_in(tmp_path / "tables", tiny_tables())
    dataset = read_dataset(folder, SIGNALS)
    assert dataset.history.item_row.dtype == np.int32
    assert isinstance(dataset.history.item_row.base, np.memmap)
    assert len(pickle.dumps(dataset.history)) < 2000
    same_histories(pickle.loads(pickle.dumps(dataset.history)), dataset.history)


def test_other_signals_make_another_store_and_the_same_ones_do_not(tmp_path: Path) -> None:
    folder = tables_in(tmp_path / "tables", tiny_tables())
    weighed = read_dataset(folder, SIGNALS).history.weight.tolist()
    stamp = (folder / "store" / "history" / "weight.npy").stat().st_mtime_ns
    read_dataset(folder, SIGNALS)
    assert (folder / "store" / "history" / "weight.npy").stat().st_mtime_ns == stamp
    plain = read_dataset(folder, replace(SIGNALS, weights=False)).history.weight.tolist()
    assert plain == [1.0] * len(plain)
    assert weighed != plain


def test_new_tables_come_without_the_store_of_older_ones(tmp_path: Path) -> None:
    folder = tables_in(tmp_path / "tables", tiny_tables())
    assert read_dataset(folder, SIGNALS).history.num_events == 6
    tables_in(folder, block_world(2, 5, 3, 4, seed=0))
    assert read_dataset(folder, SIGNALS).history.num_events == 24


def test_a_store_of_another_format_is_made_anew(tmp_path: Path) -> None:
    folder = tables_in(tmp_path / "tables", tiny_tables())
    read_dataset(folder, SIGNALS)
    path = folder / "store" / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 0}))
    assert read_dataset(folder, SIGNALS).history.num_events == 6
    assert json.loads(path.read_text())["format_version"] == store._FORMAT_VERSION


def test_an_episode_counts_for_its_series_in_the_store_too(tmp_path: Path) -> None:
    tiny = tiny_tables()
    series = [None, "t1", None, None, None]
    place = tiny.items.schema.get_field_index("series_id")
    items = tiny.items.set_column(place, tiny.items.schema.field(place), [series])
    folder = tables_in(tmp_path / "tables", replace(tiny, items=items))
    assert read_dataset(folder, SIGNALS).history.items_of(0).tolist() == [0, 2]
    apart = replace(SIGNALS, episodes_to_series=False)
    assert read_dataset(folder, apart).history.items_of(0).tolist() == [0, 1, 2]


def test_tables_without_events_make_an_empty_store(tmp_path: Path) -> None:
    tiny = tiny_tables()
    folder = tables_in(tmp_path / "tables", replace(tiny, events=tiny.events.slice(0, 0)))
    dataset = read_dataset(folder, SIGNALS)
    assert dataset.history.lengths.tolist() == [0, 0, 0, 0]
    assert dataset.repeats.num_events == 0


def test_a_store_without_tables_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"items.parquet: no such table; run scripts/ingest.py"):
        read_dataset(tmp_path, SIGNALS)


def test_tables_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    folder = tables_in(tmp_path / "tables", tiny_tables())
    counts = np.load(folder / "num_events.npy")
    np.save(folder / "num_events.npy", counts + 1)
    with pytest.raises(SchemaError, match=r"7 events, and num_events.npy counts 11"):
        read_dataset(folder, SIGNALS)
    np.save(folder / "num_events.npy", counts)
    events = pq.read_table(folder / "events.parquet")
    pq.write_table(events.set_column(1, "item_id", pa.array(["t1"] * 6 + ["t99"])), folder / "events.parquet")
    with pytest.raises(SchemaError, match=r"1 events of items that are not in items.parquet"):
        read_dataset(folder, SIGNALS)
