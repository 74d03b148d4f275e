"""Every rule and every policy, on small tables worked out by hand."""

import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.towers.data.ingest.raws import EVENT, FILMS, Row, counts, ingested, raw, rejected, service
from towers.data.ingest.columns import frame_type
from towers.data.ingest.ingest import REPORT_FILE, ingest, read_report
from towers.data.ingest.rules import Policy, RuleSettings, check_rules
from towers.data.raw import ROW, RawSource, RawTable
from towers.data.schema import LICENCES, read_tables
from towers.errors import ConfigError, MissingDataError, SchemaError

LENIENT = RuleSettings(max_rejected_share=1.0)
NO_FILM: list[Row] = []


def events_of(folder: Path) -> list[tuple[str, str, int]]:
    """(profile, item, Unix seconds) of every event, in the order of the file."""
    events = read_tables(folder).events
    return [(row["profile_id"], row["item_id"], int(row["start"].timestamp())) for row in events.to_pylist()]


def test_a_clean_source_loses_nothing_and_counts_nothing(tmp_path: Path) -> None:
    report = ingested(service([EVENT, {**EVENT, "item_id": "t3"}]), tmp_path / "tables")
    assert report.counts == ()
    assert dict(report.num_written) == {"items": 3, "events": 2, "profiles": 1, "queries": 0}
    tables = read_tables(tmp_path / "tables")
    assert tables.items["genres"].to_pylist() == [["Crime", "Action"], None, ["Documentary"]]
    assert tables.items["release_year"].to_pylist() == [1998, None, 2020]
    assert tables.events["minutes_watched"].to_pylist() == [90.5, 90.5]
    assert not (tmp_path / "tables" / "rejected").exists()
    assert read_report(tmp_path / "tables") == report


def test_a_report_that_is_not_there_or_damaged_says_what_to_run(tmp_path: Path) -> None:
    ingested(service([EVENT]), tmp_path / "tables")
    for content in ("", "[]", "{}", '{"counts": [5]}'):
        (tmp_path / "tables" / REPORT_FILE).write_text(content)
        with pytest.raises(
            SchemaError, match=rf"{REPORT_FILE}: (?s:.)*; expected what scripts/ingest\.py wrote"
        ):
            read_report(tmp_path / "tables")
    with pytest.raises(MissingDataError, match=rf"{REPORT_FILE}: no such report; run scripts/ingest\.py"):
        read_report(tmp_path)


@pytest.mark.parametrize(
    ("fault", "rule", "column"),
    [
        ({"minutes_watched": "ninety"}, "type", "minutes_watched"),
        ({"minutes_watched": "-1"}, "range", "minutes_watched"),
        ({"minutes_watched": "inf"}, "range", "minutes_watched"),
        ({"stars": "10.5"}, "range", "stars"),
        ({"plays": "0"}, "range", "plays"),
        ({"plays": "1.5"}, "type", "plays"),
        ({"completion": "1.01"}, "range", "completion"),
        ({"position": "0"}, "range", "position"),
        ({"start": "yesterday"}, "type", "start"),
        ({"start": "1700000000000"}, "clock", "start"),  # milliseconds among seconds
        ({"start": "0"}, "clock", "start"),
        ({"start": ""}, "missing", "start"),
        ({"profile_id": ""}, "missing", "profile_id"),
        ({"profile_id": None}, "missing", "profile_id"),
        ({"item_id": "  "}, "missing", "item_id"),
        ({"item_id": "t9"}, "unknown_item", "item_id"),
    ],
)
def test_a_bad_event_is_rejected_with_its_rule_row_and_value(
    tmp_path: Path, fault: Row, rule: str, column: str
) -> None:
    good: Row = {**EVENT, "stars": "8", "plays": "2", "completion": "0.5", "position": "1"}
    other: Row = {**good, "item_id": "t3"}
    report = ingested(service([good, {**good, **fault}, other]), tmp_path)
    assert rejected(tmp_path, "events") == [(3, rule, column, fault[column])]
    assert events_of(tmp_path) == [("ana", "t1", 1700000000), ("ana", "t3", 1700000000)]
    assert counts(report) == {("events", rule, column, "rejected", 1)}
    assert report.counts[0].example == "events.csv:3"
    record = pl.read_parquet(tmp_path / "rejected" / "events.parquet")["record"][0]
    assert json.loads(record)["item_id"] == {**good, **fault}["item_id"]


@pytest.mark.parametrize(
    ("fault", "rule", "column"),
    [({"minutes_watched": "ninety"}, "type", "minutes_watched"), ({"stars": "-2"}, "range", "stars")],
)
def test_repair_makes_an_optional_value_null_and_keeps_the_event(
    tmp_path: Path, fault: Row, rule: str, column: str
) -> None:
    rules = replace(LENIENT, type=Policy.REPAIR, range=Policy.REPAIR)
    report = ingested(service([{**EVENT, "stars": "8", **fault}]), tmp_path, rules)
    assert read_tables(tmp_path).events[column].to_pylist() == [None]
    assert counts(report) == {("events", rule, column, "repaired", 1)}
    assert rejected(tmp_path, "events") == []


def test_a_day_of_release_has_bounds_of_its_own_and_costs_no_title(tmp_path: Path) -> None:
    days = ["1895-12-28", "2013-06-14T20:00:00+02:00", "", "1869-12-31", "2100-01-01", "soon"]
    films: list[Row] = [
        {"item_id": f"t{row + 1}", "title": "A", "released": day} for row, day in enumerate(days)
    ]
    report = ingested(service([EVENT], items=films), tmp_path)
    found = read_tables(tmp_path).items["released"].to_pylist()
    assert [day and day.isoformat() for day in found] == [
        "1895-12-28T00:00:00+00:00",
        "2013-06-14T18:00:00+00:00",
        None,
        None,
        None,
        None,
    ]
    assert counts(report) == {
        ("items", "range", "released", "repaired", 2),
        ("items", "type", "released", "repaired", 1),
    }


@pytest.mark.parametrize("number", ["2013", "20130614", "1371168000"])
def test_numbers_are_no_day_of_release_where_their_unit_is_not_said(tmp_path: Path, number: str) -> None:
    films: list[Row] = [{"item_id": "t1", "title": "A", "released": number}]
    report = ingested(service([EVENT], items=films), tmp_path)
    assert read_tables(tmp_path).items["released"].to_pylist() == [None]
    assert counts(report) == {("items", "type", "released", "repaired", 1)}


def test_repair_cannot_invent_a_time(tmp_path: Path) -> None:
    report = ingested(
        service([EVENT, {**EVENT, "start": "noon"}]), tmp_path, replace(LENIENT, type=Policy.REPAIR)
    )
    assert rejected(tmp_path, "events") == [(3, "type", "start", "noon")]
    assert counts(report) == {("events", "type", "start", "rejected", 1)}


def test_a_clock_in_another_unit_is_repaired_to_the_moment_it_means(tmp_path: Path) -> None:
    rules = replace(LENIENT, clock=Policy.REPAIR)
    starts = ["1700000000", "1700000001", "1700000002000", "1700000003000000", "5"]
    report = ingested(service([{**EVENT, "start": start} for start in starts]), tmp_path, rules)
    assert [second for _, _, second in events_of(tmp_path)] == [1700000000 + n for n in range(4)]
    assert counts(report) == {
        ("events", "clock", "start", "repaired", 2),
        ("events", "clock", "start", "rejected", 1),
    }


@pytest.mark.parametrize(
    "unit_text",
    [
        *("1700000000", "1700000000000", "1700000000000000", "1700000000000000000", "1700000000.0"),
        *("2023-11-14 22:13:20", "2023-11-14T22:13:20Z", "2023-11-15T00:13:20+02:00"),
        *("2023-11-14T22:13:20.000", "2023-11-14 22:13:20.5Z", "2023-11-14 22:13"),
    ],
)
def test_clock_units_and_iso_texts_are_told_apart(tmp_path: Path, unit_text: str) -> None:
    ingested(service([{**EVENT, "start": unit_text}]), tmp_path)
    assert [second for _, _, second in events_of(tmp_path)] == [
        1699999980 if unit_text.endswith(" 22:13") else 1700000000
    ]


def test_metadata_at_fault_costs_a_value_and_not_the_title(tmp_path: Path) -> None:
    films: list[Row] = [
        {**FILMS[0], "release_year": "next year", "rating": "11", "duration_minutes": "NaN"},
        FILMS[2],
    ]
    report = ingested(service([EVENT], items=films), tmp_path)
    first = read_tables(tmp_path).items.to_pylist()[0]
    assert (first["release_year"], first["rating"], first["duration_minutes"]) == (None, None, None)
    assert counts(report) == {
        ("items", "type", "release_year", "repaired", 1),
        ("items", "range", "rating", "repaired", 1),
    }


def test_embeddings_are_read_from_texts_and_one_that_is_no_vector_costs_the_value_alone(
    tmp_path: Path,
) -> None:
    given = ["[0.5, -1e-3]", "1 2", "1 nan", "1 two", ""]
    items: list[Row] = [
        {"item_id": f"t{place}", "title": "T", "embedding": text} for place, text in enumerate(given, 1)
    ]
    report = ingested(service([EVENT], items=items), tmp_path)
    read = read_tables(tmp_path).items["embedding"].to_pylist()
    assert read[:2] == [[0.5, pytest.approx(-1e-3)], [1.0, 2.0]]
    assert read[2:] == [None, None, None]
    assert {count[1:] for count in counts(report)} == {("type", "embedding", "repaired", 2)}


@pytest.mark.parametrize("kind", [pl.List(pl.Float64), pl.Array(pl.Float32, 2)])
def test_embeddings_are_read_from_lists(kind: pl.DataType, tmp_path: Path) -> None:
    columns = {
        "item_id": ["t1", "t2", "t3"],
        "title": ["A", "B", "C"],
        "embedding": pl.Series([[0.5, 2.0], None, [1.0, float("inf")]], dtype=kind),
    }
    frame = pl.DataFrame(columns).with_columns(pl.Series(ROW, [2, 3, 4], dtype=pl.UInt32))
    source = RawSource(
        items=(RawTable(Path("items.parquet"), frame.lazy()),), events=(raw("events", [EVENT]),)
    )
    ingested(source, tmp_path)
    assert read_tables(tmp_path).items["embedding"].to_pylist() == [[0.5, 2.0], None, None]


def test_of_a_repeated_id_the_first_row_is_kept(tmp_path: Path) -> None:
    films = [*FILMS, {**FILMS[0], "title": "Another"}]
    profiles: list[Row] = [
        {"profile_id": "ana", "country": "GB"},
        {"profile_id": "ana", "country": "FR"},
    ]
    ingested(service([EVENT], items=films, profiles=profiles), tmp_path)
    assert rejected(tmp_path, "items") == [(5, "duplicate_id", "item_id", "t1")]
    assert rejected(tmp_path, "profiles") == [(3, "duplicate_id", "profile_id", "ana")]
    tables = read_tables(tmp_path)
    assert tables.items["title"].to_pylist() == ["Night Train", "Sugar Rush", "The Reef"]
    assert tables.profiles["country"].to_pylist() == ["GB"]


def test_the_same_start_of_the_same_title_is_one_event_and_other_ties_are_not(tmp_path: Path) -> None:
    rows: list[Row] = [
        EVENT,
        {**EVENT, "item_id": "t3"},
        {**EVENT, "minutes_watched": "3"},  # again, though other minutes
        {**EVENT, "start": "1700000001"},
        {**EVENT, "profile_id": "ben"},
    ]
    ingested(service(rows), tmp_path)
    assert [(row, rule) for row, rule, *_ in rejected(tmp_path, "events")] == [(4, "duplicate_event")]
    assert sorted(events_of(tmp_path)) == [
        ("ana", "t1", 1700000000),
        ("ana", "t1", 1700000001),
        ("ana", "t3", 1700000000),
        ("ben", "t1", 1700000000),
    ]


def test_an_unknown_title_is_added_where_the_policy_says_so(tmp_path: Path) -> None:
    rows: list[Row] = [EVENT, {**EVENT, "item_id": "t9"}, {**EVENT, "item_id": "t8"}]
    report = ingested(service(rows), tmp_path, replace(LENIENT, unknown_item=Policy.REPAIR))
    items = read_tables(tmp_path).items
    assert items["item_id"].to_pylist() == ["t1", "t2", "t3", "t9", "t8"]
    assert items["title"].to_pylist()[3:] == ["t9", "t8"]
    assert report.added["items"] == 2
    assert report.counts == ()


def test_a_source_without_items_gets_those_of_its_events(tmp_path: Path) -> None:
    report = ingested(service([EVENT, {**EVENT, "item_id": "t7"}], items=NO_FILM), tmp_path)
    assert read_tables(tmp_path).items["title"].to_pylist() == ["t1", "t7"]
    assert (report.num_read["items"], report.added["items"]) == (0, 2)


def test_unknown_profiles_are_added_or_rejected_as_the_policy_says(tmp_path: Path) -> None:
    rows: list[Row] = [EVENT, {**EVENT, "profile_id": "eve"}]
    profiles: list[Row] = [{"profile_id": "ana", "country": "GB"}, {"profile_id": "dan", "country": "KR"}]
    source = service(rows, profiles=profiles)
    added = ingested(source, tmp_path / "added")
    table = read_tables(tmp_path / "added").profiles
    assert dict(zip(*(table[name].to_pylist() for name in ("profile_id", "country")), strict=True)) == {
        "ana": "GB", "dan": "KR", "eve": None,
    }  # fmt: skip
    assert added.added["profiles"] == 1
    assert counts(added) == {("events", "unknown_profile", "profile_id", "repaired", 1)}

    strict = replace(LENIENT, unknown_profile=Policy.REJECT_ROW)
    ingested(source, tmp_path / "rejected", strict)
    assert rejected(tmp_path / "rejected", "events") == [(3, "unknown_profile", "profile_id", "eve")]
    assert set(read_tables(tmp_path / "rejected").profiles["profile_id"].to_pylist()) == {"ana", "dan"}


def test_queries_keep_the_same_rules_and_name_silent_profiles(tmp_path: Path) -> None:
    queries: list[Row] = [
        {"profile_id": "cho", "text": "train", "time": "1700000000", "item_id": "t1"},
        {"profile_id": "", "text": "reef", "time": "1700000001", "item_id": ""},
        {"profile_id": "ana", "text": "", "time": "1700000001", "item_id": ""},
        {"profile_id": "ana", "text": "ghost", "time": "1700000001", "item_id": "t9"},
    ]
    report = ingested(service([EVENT], queries=queries), tmp_path)
    tables = read_tables(tmp_path)
    assert tables.queries["text"].to_pylist() == ["train", "reef"]
    assert set(tables.profiles["profile_id"].to_pylist()) == {"ana", "cho"}
    assert rejected(tmp_path, "queries") == [
        (4, "missing", "text", ""),
        (5, "unknown_item", "item_id", "t9"),
    ]
    assert report.added["profiles"] == 2


def test_watching_before_the_release_is_only_warned_of_unless_asked(tmp_path: Path) -> None:
    rows: list[Row] = [{**EVENT, "start": "883612799"}, {**EVENT, "start": "883612800"}]  # around 1998-01-01
    report = ingested(service(rows), tmp_path / "warned")
    assert counts(report) == {("events", "time_travel", "start", "warned", 1)}
    assert len(events_of(tmp_path / "warned")) == 2
    ingested(service(rows), tmp_path / "strict", replace(LENIENT, time_travel=Policy.REJECT_ROW))
    assert [row for row, *_ in rejected(tmp_path / "strict", "events")] == [2]


def test_records_that_could_not_be_taken_apart_are_kept_as_text(tmp_path: Path) -> None:
    events = raw("events", [EVENT] * 3, faults={1: "2 fields; expected 4", 2: "not utf-8 at byte 7"})
    source = RawSource(items=(raw("items", FILMS, separator={"genres": "|"}),), events=(events,))
    report = ingested(source, tmp_path, replace(LENIENT, encoding=Policy.REJECT_ROW))
    assert rejected(tmp_path, "events") == [
        (3, "malformed", None, "2 fields; expected 4"),
        (4, "encoding", None, "not utf-8 at byte 7"),
    ]
    assert pl.read_parquet(tmp_path / "rejected" / "events.parquet")["record"].to_list() == [
        "line 1",
        "line 2",
    ]
    assert report.num_rejected("events") == 2


def test_an_episode_of_no_known_series_stands_alone(tmp_path: Path) -> None:
    films: list[Row] = [
        {"item_id": "s", "title": "A Series", "series_id": ""},
        {"item_id": "e1", "title": "One", "series_id": "s"},
        {"item_id": "e2", "title": "Two", "series_id": "nowhere"},
        {"item_id": "e3", "title": "Of an episode", "series_id": "e1"},
    ]
    report = ingested(service([{**EVENT, "item_id": "e1"}], items=films), tmp_path)
    assert read_tables(tmp_path).items["series_id"].to_pylist() == [None, "s", None, None]
    assert counts(report) == {("items", "unknown_item", "series_id", "repaired", 2)}


def test_countries_become_codes_and_regions_come_with_them(tmp_path: Path) -> None:
    rows = [
        {**EVENT, "start": str(1700000000 + n), "country": country}
        for n, country in enumerate(["gb", "Germany", "USA", "US-CA", "Narnia", ""])
    ]
    report = ingested(service(rows), tmp_path)
    events = read_tables(tmp_path).events
    assert events["country"].to_pylist() == ["GB", "DE", "US", "US", None, None]
    assert events["region"].to_pylist() == [None, None, None, "US-CA", None, None]
    assert counts(report) == {("events", "unknown_country", "country", "repaired", 1)}
    strict = replace(LENIENT, unknown_country=Policy.REJECT_ROW)
    ingested(service(rows), tmp_path / "strict", strict)
    assert rejected(tmp_path / "strict", "events") == [(6, "unknown_country", "country", "Narnia")]
    assert read_tables(tmp_path / "strict").events["country"].to_pylist() == ["GB", "DE", "US", "US", None]
    profiles: list[Row] = [{"profile_id": "ana", "country": "Narnia"}]
    strict = replace(LENIENT, unknown_country=Policy.REJECT_FILE)
    with pytest.raises(SchemaError, match=r"profiles.csv:2: country is 'Narnia' \(unknown_country"):
        ingested(service([EVENT], profiles=profiles), tmp_path / "refused", strict)


def test_countries_of_licences_become_codes_and_one_of_no_country_is_no_licence(tmp_path: Path) -> None:
    spelled: list[list[str | None] | None] = [["gb", None, "Germany"], ["Narnia", "FR"], [" "], [], None]
    films = pl.DataFrame(
        {
            "item_id": [f"t{n}" for n in range(5)],
            "title": [f"Title {n}" for n in range(5)],
            "licences": [
                None
                if countries is None
                else [{"country": country, "start": None, "end": None} for country in countries]
                for countries in spelled
            ],
        },
        schema_overrides={"licences": frame_type(LICENCES)},
    )
    source = service([{**EVENT, "item_id": "t0"}, {**EVENT, "item_id": "t1"}])
    source = replace(source, items=(replace(source.items[0], frame=films.lazy().with_row_index(ROW, 2)),))
    report = ingested(source, tmp_path / "kept")

    def countries(folder: Path) -> list[list[str | None] | None]:
        column = read_tables(folder).items["licences"].to_pylist()
        return [None if one is None else [entry["country"] for entry in one] for one in column]

    assert countries(tmp_path / "kept") == [["GB", None, "DE"], ["FR"], [], [], None]
    assert counts(report) == {("items", "unknown_country", "licences", "repaired", 2)}
    ingested(source, tmp_path / "strict", replace(LENIENT, unknown_country=Policy.REJECT_ROW))
    assert countries(tmp_path / "strict") == [["GB", None, "DE"], [], None]
    named = [(row, rule, column) for row, rule, column, _ in rejected(tmp_path / "strict", "items")]
    assert named == [(3, "unknown_country", "licences"), (4, "unknown_country", "licences")]


def test_countries_of_queries_and_of_rows_left_out_late_are_codes_too(tmp_path: Path) -> None:
    profiles: list[Row] = [{"profile_id": "ana", "country": "gb"}]
    rows: list[Row] = [{**EVENT, "country": "JP"}, {**EVENT, "profile_id": "eve", "country": "JP"}]
    queries: list[Row] = [{"profile_id": "ana", "text": "reef", "time": "1700000000", "country": "Japan"}]
    source = service(rows, profiles=profiles, queries=queries)
    ingested(source, tmp_path, replace(LENIENT, unknown_profile=Policy.REJECT_ROW))
    tables = read_tables(tmp_path)
    assert tables.events["country"].to_pylist() == ["JP"]
    assert tables.queries["country"].to_pylist() == ["JP"]
    assert tables.profiles["country"].to_pylist() == ["GB"]
    record = json.loads(pl.read_parquet(tmp_path / "rejected" / "events.parquet")["record"][0])
    assert (record["profile_id"], record["country"]) == ("eve", "JP")


def test_a_file_that_does_not_say_where_stands_beside_one_that_does(tmp_path: Path) -> None:
    with_country = raw("in_spain", [{**EVENT, "country": "ES"}, {**EVENT, "item_id": "t3", "country": ""}])
    without = raw("nowhere", [{**EVENT, "item_id": "t2"}, EVENT])
    source = replace(service([EVENT]), events=(with_country, without))
    ingested(source, tmp_path)
    events = read_tables(tmp_path).events
    assert events["country"].to_pylist() == ["ES", None, None]
    left_out = pl.read_parquet(tmp_path / "rejected" / "events.parquet").select("file", "row", "rule").rows()
    assert left_out == [("nowhere.csv", 3, "duplicate_event")]


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        ("type", {**EVENT, "minutes_watched": "x"}),
        ("range", {**EVENT, "minutes_watched": "-1"}),
        ("missing", {**EVENT, "item_id": ""}),
        ("unknown_item", {**EVENT, "item_id": "t9"}),
        ("duplicate_event", EVENT),
        ("time_travel", {**EVENT, "start": "800000000"}),
    ],
)
def test_reject_file_ends_the_job_and_leaves_the_older_tables(tmp_path: Path, rule: str, row: Row) -> None:
    folder = tmp_path / "tables"
    ingested(service([EVENT]), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    strict = replace(LENIENT, **{rule: Policy.REJECT_FILE})  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match=re.escape("events.csv:3") + f".*{rule}.*refuses the file"):
        ingested(service([EVENT, row]), folder, strict)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["tables"]


def test_too_many_lost_rows_end_the_job_and_name_the_reason(tmp_path: Path) -> None:
    rows: list[Row] = [EVENT, *({**EVENT, "minutes_watched": f"{n} min"} for n in range(2))]
    with pytest.raises(
        SchemaError, match=r"2 of 3 events .* \(2\) by type of minutes_watched, first at events.csv:3"
    ):
        ingested(service(rows), tmp_path, RuleSettings())


def test_a_source_without_one_good_title_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"no title was accepted of 1 that were read: .* of item_id, first"):
        ingested(service([EVENT], items=[{"item_id": "", "title": "x"}]), tmp_path / "tables")


def test_a_table_without_a_required_column_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"events.csv: has .* expected columns for start of events"):
        ingested(service([{"profile_id": "ana", "item_id": "t1"}]), tmp_path)


def test_a_column_that_no_table_has_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"columns \['minuts'\] are none of events"):
        ingested(service([{**EVENT, "minuts": "5"}]), tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"missing": Policy.REPAIR}, "rules.missing: repair; expected one of reject_row, reject_file"),
        ({"type": Policy.WARN}, "rules.type: warn; expected one of reject_row, reject_file, repair"),
        ({"earliest": "long ago"}, "rules.earliest: 'long ago'; expected an ISO date"),
        ({"latest": "1980-01-01"}, "rules.earliest: 1990-01-01; expected a date before rules.latest"),
        ({"max_rejected_share": 1.5}, "rules.max_rejected_share: 1.5 is out of range"),
    ],
)
def test_a_policy_that_a_rule_does_not_know_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_rules(replace(RuleSettings(), **changed))  # type: ignore[arg-type]


def test_a_query_gets_what_its_profile_played_next_within_the_window(tmp_path: Path) -> None:
    rows: list[Row] = [EVENT, {**EVENT, "item_id": "t3", "start": "1700009000"}]
    queries: list[Row] = [
        {"profile_id": "ana", "text": "train", "time": "1699999900", "item_id": ""},
        {"profile_id": "ana", "text": "reef", "time": "1700005000", "item_id": ""},
        {"profile_id": "ana", "text": "rush", "time": "1700005001", "item_id": ""},
        {"profile_id": "ben", "text": "reef", "time": "1699999900", "item_id": ""},
    ]
    ingest(service(rows, queries=queries), "a test", tmp_path, LENIENT, query_window_minutes=30.0)
    assert read_tables(tmp_path).queries["item_id"].to_pylist() == ["t1", None, None, None]
    ingest(service(rows, queries=queries[:2]), "a test", tmp_path, LENIENT, query_window_minutes=120.0)
    assert read_tables(tmp_path).queries["item_id"].to_pylist() == ["t1", "t3"]
    # A source that says what was played after one of them says of the others that nothing was.
    said: list[Row] = [queries[0], {**queries[1], "item_id": "t2"}]
    ingest(service(rows, queries=said), "a test", tmp_path, LENIENT, query_window_minutes=120.0)
    assert read_tables(tmp_path).queries["item_id"].to_pylist() == [None, "t2"]
