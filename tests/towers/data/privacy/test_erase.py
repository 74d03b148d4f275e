"""Tables without a forgotten profile are those of a log that never had it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.towers.data.ingest.raws import EVENT, FILMS, Row, service
from tests.towers.data.ingest.raws import ingested as ingested_rows
from tests.worlds import block_world
from towers.data import raw
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import ingest, read_report
from towers.data.ingest.rules import RuleSettings
from towers.data.privacy.forgotten import Forgotten
from towers.data.privacy.guard import Guard
from towers.data.privacy.settings import PrivacySettings
from towers.data.privacy.tables import erase_from_tables
from towers.data.schema import QUERIES, Tables, read_tables, table
from towers.data.signals.settings import SignalSettings

GONE = ("p3", "p11")
FORGOTTEN = Forgotten().also(GONE, datetime(2026, 1, 1, tzinfo=UTC))


def world() -> Tables:
    """Twelve profiles with a search each; three ask the same, of whom one will be forgotten."""
    tables = block_world(3, 8, 4, 5, seed=5)
    ids = [f"p{row}" for row in range(12)]
    text = ["rare" if row in (1, 2, 3) else "often" for row in range(12)]
    start = tables.events["start"][0]
    return replace(
        tables, queries=table(QUERIES, {"profile_id": ids, "text": text, "time": [start.as_py()] * 12})
    )


def without(tables: Tables, *ids: str) -> Tables:
    def kept(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.invert(pc.is_in(rows["profile_id"], value_set=pa.array(ids, pa.string()))))

    return Tables(tables.items, kept(tables.events), kept(tables.profiles), kept(tables.queries))


def ingested(tables: Tables, folder: Path, settings: PrivacySettings | None = None) -> None:
    guard = Guard(settings or PrivacySettings())
    ingest(raw.raw_from_tables(tables), "a world", folder, RuleSettings(), guard=guard)


def assert_same(one: Path, other: Path) -> None:
    found, wanted = read_tables(one), read_tables(other)
    for name in ("items", "events", "profiles", "queries"):
        assert getattr(found, name).equals(getattr(wanted, name)), name
    histories = [read_dataset(folder, SignalSettings()).history for folder in (one, other)]
    for column in ("offset", "item_row", "time_seconds", "minutes", "weight"):
        assert np.array_equal(getattr(histories[0], column), getattr(histories[1], column))


@pytest.mark.parametrize(
    "settings", [PrivacySettings(), PrivacySettings(min_profiles_per_query=3, min_profiles_per_place=2)]
)
def test_what_is_left_is_what_an_ingest_without_them_makes(tmp_path: Path, settings: PrivacySettings) -> None:
    ingested(world(), tmp_path / "tables", settings)
    ingested(without(world(), *GONE), tmp_path / "never", settings)
    read_dataset(tmp_path / "tables", SignalSettings())  # a training store that must go too
    erased = erase_from_tables(tmp_path / "tables", FORGOTTEN)
    assert (erased.num_profiles, erased.num_rows["events"], erased.num_rows["queries"]) == (2, 10, 2)
    assert not (tmp_path / "tables" / "store").exists()
    assert_same(tmp_path / "tables", tmp_path / "never")


def test_a_search_that_too_few_are_left_to_have_asked_goes_too(tmp_path: Path) -> None:
    ingested(world(), tmp_path, PrivacySettings(min_profiles_per_query=3))
    assert read_tables(tmp_path).queries["text"].to_pylist().count("rare") == 3
    erase_from_tables(tmp_path, FORGOTTEN)
    assert set(read_tables(tmp_path).queries["text"].to_pylist()) == {"often"}


def test_the_report_counts_them_and_every_row_is_accounted_for(tmp_path: Path) -> None:
    ingested(world(), tmp_path)
    before = read_report(tmp_path)
    erase_from_tables(tmp_path, FORGOTTEN)
    erase_from_tables(tmp_path, FORGOTTEN.also(["p0"], datetime(2026, 2, 1, tzinfo=UTC)))
    after = read_report(tmp_path)
    assert after.num_written["profiles"] == 9
    counted = {c.table: c.num_rows for c in after.counts if c.rule == "forgotten"}
    assert counted == {"profiles": 3, "events": 15, "queries": 3}
    for name, num_read in before.num_read.items():
        assert after.num_written[name] == num_read - counted.get(name, 0)


def test_where_nobody_is_forgotten_nothing_is_touched(tmp_path: Path) -> None:
    ingested(world(), tmp_path / "tables")
    state = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert erase_from_tables(tmp_path / "tables", Forgotten()).num_profiles == 0
    erase_from_tables(tmp_path / "tables", Forgotten().also(["nobody"], datetime(2026, 1, 1, tzinfo=UTC)))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == state


def test_rejected_rows_of_people_go_unless_they_say_nothing(tmp_path: Path) -> None:
    bad: Row = {**EVENT, "profile_id": "p3", "minutes_watched": "p3's own words"}
    source = service([EVENT, {**EVENT, "profile_id": "p3"}, bad], items=[*FILMS, FILMS[0]])
    ingested_rows(source, tmp_path / "shown")
    ingest(
        source,
        "a test",
        tmp_path / "withheld",
        RuleSettings(),
        guard=Guard(PrivacySettings(withhold_rejected=True)),
    )
    for name, kept in (("shown", {"items"}), ("withheld", {"items", "events"})):
        erase_from_tables(tmp_path / name, FORGOTTEN)
        left = list((tmp_path / name / "rejected").iterdir())
        assert {path.stem for path in left} == kept
        assert all("p3" not in str(pq.read_table(path).to_pydict()) for path in left)


def test_an_ingest_leaves_out_whoever_is_forgotten_by_any_key(tmp_path: Path) -> None:
    guard = Guard(forgotten=FORGOTTEN)
    report = ingest(raw.raw_from_tables(world()), "a world", tmp_path / "again", RuleSettings(), guard=guard)
    ingested(without(world(), *GONE), tmp_path / "never")
    assert_same(tmp_path / "again", tmp_path / "never")
    assert {(c.table, c.num_rows) for c in report.counts if c.rule == "forgotten"} == {
        ("events", 10), ("profiles", 2), ("queries", 2),
    }  # fmt: skip
