"""What of people passes into the tables, from raw rows to Parquet files and reports."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.towers.data.ingest.raws import EVENT, Row, counts, raw, service
from towers.data.ingest.ingest import ingest, read_report
from towers.data.ingest.report import IngestReport
from towers.data.ingest.rules import Policy, RuleSettings
from towers.data.privacy.forgotten import Forgotten
from towers.data.privacy.guard import Guard, guard_of
from towers.data.privacy.pseudonyms import PseudonymKey, Whose
from towers.data.privacy.settings import PrivacySettings
from towers.data.raw import RawSource
from towers.data.schema import read_tables
from towers.errors import ConfigError, SchemaError
from towers.settings import check_ranges

DAY = 86_400
START = 1_700_000_000
KEY, OTHER = PseudonymKey(bytes(32)), PseudonymKey(bytes([1] * 32))
WATCHES: list[Row] = [
    {"profile_id": who, "item_id": "t1", "start": str(START + day * DAY), "country": country}
    for who, day, country in [(" ana ", 0, "GB"), ("ana", 1, "GB"), ("ben", 5, "FR"), ("cy", 9, "FR")]
]
PEOPLE: list[Row] = [
    {"profile_id": "ana", "household_id": "ana", "country": "GB", "region": "GB-ENG"},
    {"profile_id": "ben", "household_id": "", "country": "FR", "region": None},
    {"profile_id": "cy", "household_id": "h", "country": "FR", "region": None},
]
ASKED: list[Row] = [
    {"profile_id": who, "text": text, "time": str(START)}
    for who, text in [("ana", "reef"), ("ben", "Reef"), ("cy", "flat of ana smith"), ("ben", "night")]
]


def ingested(
    source: RawSource, folder: Path, guard: Guard, rules: RuleSettings | None = None
) -> IngestReport:
    return ingest(source, "a test", folder, rules or RuleSettings(max_rejected_share=1.0), guard=guard)


def balanced(report: IngestReport) -> bool:
    """Whether every row read is accounted for."""
    return all(
        report.num_read[name]
        == report.num_written[name]
        - report.added[name]
        + sum(c.num_rows for c in report.counts if c.table == name and c.outcome in ("rejected", "withheld"))
        for name in report.num_read
    )


def test_without_settings_everything_passes_as_it_is(tmp_path: Path) -> None:
    report = ingested(service(WATCHES, profiles=PEOPLE, queries=ASKED), tmp_path, Guard())
    tables = read_tables(tmp_path)
    assert set(tables.profiles["profile_id"].to_pylist()) == {"ana", "ben", "cy"}
    assert tables.queries.num_rows == 4
    assert report.key_name is None


def test_under_a_key_every_table_has_the_same_pseudonyms_and_no_id(tmp_path: Path) -> None:
    ingested(service(WATCHES, profiles=PEOPLE, queries=ASKED), tmp_path, Guard(key=KEY))
    tables = read_tables(tmp_path)
    people = {KEY.pseudonym(who) for who in ("ana", "ben", "cy")}
    assert set(tables.profiles["profile_id"].to_pylist()) == people
    assert set(tables.events["profile_id"].to_pylist()) == people
    assert set(tables.queries["profile_id"].to_pylist()) == people
    of_ana = tables.profiles.filter(
        pl.Series(tables.profiles["profile_id"].to_pylist()).eq(KEY.pseudonym("ana")).to_arrow()
    )
    assert of_ana["household_id"].to_pylist() == [KEY.pseudonym("ana", Whose.HOUSEHOLD)]
    assert read_report(tmp_path).key_name == KEY.name


def test_ids_that_only_events_name_get_pseudonyms_too_and_blanks_do_not_make_two(tmp_path: Path) -> None:
    ingested(service(WATCHES), tmp_path, Guard(key=KEY))
    assert pl.read_parquet(tmp_path / "profiles.parquet")["profile_id"].n_unique() == 3


def test_another_key_makes_other_pseudonyms_of_the_same_histories(tmp_path: Path) -> None:
    for name, key in (("old", KEY), ("new", OTHER)):
        ingested(service(WATCHES, profiles=PEOPLE), tmp_path / name, Guard(key=key))
    old, new = (read_tables(tmp_path / name) for name in ("old", "new"))
    assert not set(old.profiles["profile_id"].to_pylist()) & set(new.profiles["profile_id"].to_pylist())
    for who in ("ana", "ben", "cy"):
        starts = [
            sorted(e["start"] for e in tables.events.to_pylist() if e["profile_id"] == key.pseudonym(who))
            for tables, key in ((old, KEY), (new, OTHER))
        ]
        assert starts[0] == starts[1] != []


def test_under_a_key_rejected_rows_and_errors_tell_nothing_of_people(tmp_path: Path) -> None:
    bad: list[Row] = [{**EVENT, "profile_id": "dora", "minutes_watched": "her secret"}]
    asked: list[Row] = [{"profile_id": "dora", "text": "dora's own words", "time": "never"}]
    source = service([*WATCHES, *bad], queries=[*ASKED, *asked])
    ingested(source, tmp_path, Guard(key=KEY))
    for table in ("events", "queries"):
        (row,) = pq.read_table(tmp_path / "rejected" / f"{table}.parquet").to_pylist()
        assert (row["value"], row["record"], row["rule"]) == (None, "", "type")
        assert row["row"] == 6
    strict = RuleSettings(type=Policy.REJECT_FILE)
    with pytest.raises(SchemaError, match=r"events.csv:6: minutes_watched is withheld \(type") as raised:
        ingested(source, tmp_path, Guard(key=KEY), strict)
    assert "secret" not in str(raised.value)


def test_a_title_that_is_rejected_is_shown_as_ever(tmp_path: Path) -> None:
    films: list[Row] = [
        {"item_id": "t1", "title": "Night Train"},
        {"item_id": "t1", "title": "Night Train II"},
    ]
    source = RawSource(items=(raw("items", films),), events=(raw("events", WATCHES),))
    ingested(source, tmp_path, Guard(key=KEY))
    (row,) = pq.read_table(tmp_path / "rejected" / "items.parquet").to_pylist()
    assert "Night Train II" in row["record"]


def test_searches_and_places_of_too_few_are_left_out_and_counted(tmp_path: Path) -> None:
    guard = Guard(PrivacySettings(min_profiles_per_place=2, min_profiles_per_query=2))
    report = ingested(service(WATCHES, profiles=PEOPLE, queries=ASKED), tmp_path, guard)
    tables = read_tables(tmp_path)
    assert tables.queries["text"].to_pylist() == ["reef", "Reef"]
    # ana alone is of GB; without it she alone would have no country: so nobody has one.
    assert set(tables.profiles["country"].to_pylist()) == {None}
    assert set(tables.events["country"].to_pylist()) == {None}
    assert {
        ("queries", "rare_text", "text", "withheld", 2),
        ("profiles", "rare_place", "", "coarsened", 3),
        ("events", "rare_place", "", "coarsened", 4),
    } <= counts(report)
    assert balanced(report)


def test_coarser_events_lose_nothing_but_places(tmp_path: Path) -> None:
    rows = [*WATCHES, {**WATCHES[0], "profile_id": "dan", "country": "GB", "region": "GB-SCT"}]
    ingested(service(rows), tmp_path / "as it is", Guard())
    ingested(service(rows), tmp_path / "coarse", Guard(PrivacySettings(min_profiles_per_place=2)))
    whole, coarse = (pl.read_parquet(tmp_path / name / "events.parquet") for name in ("as it is", "coarse"))
    assert coarse.drop("country", "region").equals(whole.drop("country", "region"))
    assert coarse["country"].to_list() == whole["country"].to_list()
    assert whole["region"].null_count() < coarse["region"].null_count() == 5


def test_what_is_older_than_may_be_kept_is_left_out(tmp_path: Path) -> None:
    old: Row = {"profile_id": "ana", "text": "reef", "time": str(START)}
    new: Row = {**old, "time": str(START + 8 * DAY)}
    settings = PrivacySettings(retention_days=5.0, as_of="2023-11-23T22:13:20")  # the start and nine days
    report = ingested(service(WATCHES, queries=[old, new]), tmp_path, guard_of(settings, Forgotten()))
    tables = read_tables(tmp_path)
    assert tables.events["profile_id"].to_pylist().count("ana") == 0
    assert tables.events.num_rows == 2
    assert tables.queries.num_rows == 1
    assert {
        ("events", "retention", "", "withheld", 2),
        ("queries", "retention", "", "withheld", 1),
    } <= counts(report)
    assert balanced(report)


def test_of_a_profile_with_too_many_events_the_newest_are_kept(tmp_path: Path) -> None:
    rows = [{**EVENT, "item_id": f"t{1 + day % 3}", "start": str(START + day * DAY)} for day in (4, 0, 3, 1)]
    rows.append({**EVENT, "profile_id": "ben"})
    report = ingested(service(rows), tmp_path, Guard(PrivacySettings(max_events_per_profile=2)))
    events = read_tables(tmp_path).events.to_pylist()
    assert sorted(e["start"].timestamp() for e in events if e["profile_id"] == "ana") == [
        START + 3 * DAY,
        START + 4 * DAY,
    ]
    assert sum(e["profile_id"] == "ben" for e in events) == 1
    assert ("events", "contribution", "", "withheld", 2) in counts(report)
    assert balanced(report)


def test_a_bad_moment_is_named_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"privacy.as_of: 'soon'"):
        guard_of(PrivacySettings(retention_days=1.0, as_of="soon"), Forgotten())
    with pytest.raises(ConfigError, match=r"privacy.min_profiles_per_place: 0 is out of range"):
        check_ranges(PrivacySettings(min_profiles_per_place=0), "privacy")
