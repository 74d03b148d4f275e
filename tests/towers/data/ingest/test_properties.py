"""No malformed table gets through and no valid one is refused, whatever stands in it."""

import math
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.towers.data.ingest.raws import Row, ingested, rejected, service
from towers.data.ingest import check, ingest
from towers.data.schema import SCHEMAS, read_tables, validate

relaxed = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

IDS = [f"t{n}" for n in range(4)]
START = 1_700_000_000
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
names = texts.map(lambda text: f"x{text}".strip())
optional = st.sampled_from(["", None])


def number(low: float, high: float) -> st.SearchStrategy[str | None]:
    return st.one_of(optional, st.floats(low, high, width=32).map(repr), st.just(str(math.floor(low))))


valid_event = st.fixed_dictionaries(
    {
        "profile_id": names,
        "item_id": st.sampled_from(IDS),
        "start": st.integers(START, START + 5).map(str),
        "minutes_watched": number(0, 1000),
        "stars": number(0, 10),
        "completion": number(0, 1),
        "plays": st.one_of(optional, st.integers(1, 9).map(str), st.just("3.0")),
        "country": st.sampled_from(["GB", "fr", "", None]),
    }
)
valid_item = st.fixed_dictionaries(
    {
        "title": names,
        "release_year": st.one_of(optional, st.integers(1870, 2023).map(str)),
        "genres": st.lists(st.sampled_from(["Crime", "Drama"])).map("|".join),
        "rating": number(0, 10),
        "duration_minutes": number(0, 500),
        "synopsis": texts,
    }
)
valid_items = st.lists(valid_item, min_size=len(IDS), max_size=len(IDS)).map(
    lambda rows: [{"item_id": id_, **row} for id_, row in zip(IDS, rows, strict=True)]
)
# What breaks one rule each, by the rule that must find it.
faults: list[tuple[str, Row]] = [
    ("type", {"minutes_watched": "12 min"}),
    ("type", {"stars": "five"}),
    ("type", {"plays": "2.5"}),
    ("type", {"start": "soon"}),
    ("range", {"minutes_watched": "-0.5"}),
    ("range", {"stars": "1e9"}),
    ("range", {"completion": "-inf"}),
    ("clock", {"start": "99"}),
    ("clock", {"start": "99999999999"}),
    ("missing", {"profile_id": " \t"}),
    ("missing", {"item_id": None}),
    ("missing", {"start": ""}),
    ("unknown_item", {"item_id": "T0"}),
]


@pytest.fixture(autouse=True)
def _many_shares_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few rows take every path that many millions take."""
    monkeypatch.setattr(ingest, "_SHARE_EVENTS", 2)
    monkeypatch.setattr(check, "_BATCH_ROWS", 3)


def as_written(event: Row) -> tuple[str, str, int, float | None]:
    minutes = event["minutes_watched"]
    return (
        str(event["profile_id"]).strip(" \t\r\n"),
        str(event["item_id"]),
        int(str(event["start"])) * 1000,
        float(minutes) if minutes else None,
    )


@relaxed
@given(st.lists(valid_event, max_size=25), valid_items)
def test_valid_tables_pass_whole_and_in_order(events: list[Row], items: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "tables")
        report = ingested(
            service(events or [dict.fromkeys(["profile_id", "item_id", "start"], "x")], items=items), folder
        )
        tables = read_tables(folder)
        lost = Counter(rule for _, rule, *_ in rejected(folder, "events"))
    first_of: dict[tuple[str, str, int], tuple[str, str, int, float | None]] = {}
    for event in events:
        row = as_written(event)
        first_of.setdefault(row[:3], row)
    assert lost["duplicate_event"] == len(events) - len(first_of)
    assert sum(lost.values()) == lost["duplicate_event"] + (0 if events else 1)
    found = [
        (row["profile_id"], row["item_id"], round(row["start"].timestamp() * 1000), row["minutes_watched"])
        for row in tables.events.to_pylist()
    ]
    place = {id_: row for row, id_ in enumerate(tables.profiles["profile_id"].to_pylist())}
    # Stable: Python's sort keeps the order of the source among equal starts.
    assert found == sorted(first_of.values(), key=lambda row: (place[row[0]], row[2]))
    assert [row["item_id"] for row in tables.items.to_pylist()] == IDS
    assert [row["title"] for row in tables.items.to_pylist()] == [row["title"] for row in items]
    assert report.num_rejected("items") == 0


@relaxed
@given(
    st.lists(st.tuples(valid_event, st.none() | st.sampled_from(faults)), min_size=1, max_size=25), st.data()
)
def test_rows_that_break_a_rule_are_found_by_it_and_no_others(
    drawn: list[tuple[Row, tuple[str, Row] | None]], data: st.DataObject
) -> None:
    # Distinct moments, so that no event repeats another; most are sound, so that the clock's unit is plain.
    events: list[Row] = [
        {**event, "start": str(START + 10 + place)} for place, (event, _) in enumerate(drawn)
    ]
    sound: list[Row] = [{**events[0], "start": str(START - place)} for place in range(len(events) + 1)]
    broken = {place + len(sound) + 2: fault[0] for place, (_, fault) in enumerate(drawn) if fault is not None}
    events = [
        {**event, **(fault[1] if fault else {})} for event, (_, fault) in zip(events, drawn, strict=True)
    ]
    items: list[Row] = [{"item_id": id_, "title": id_} for id_ in IDS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "tables")
        report = ingested(service([*sound, *events], items=items), folder)
        assert {row: rule for row, rule, *_ in rejected(folder, "events")} == broken
        assert read_tables(folder).events.num_rows == len(sound) + len(events) - len(broken)
    assert report.num_rejected("events") == len(broken)


anything = st.one_of(
    st.none(),
    texts,
    st.sampled_from(
        [
            *("", "nan", "inf", "-1", "1e400", "t0", "GB", "1700000000", "0x10", "١٢", "1_000", "2023-11-14"),
            *("2023-13-45", "1700000000000", "-5", "TRUE", "3.0000001", "\ufffd", "ß", "null", "None"),
        ]
    ),
)


def rows_of(table: str) -> st.SearchStrategy[list[Row]]:
    flat = [
        name
        for name, kind in zip(SCHEMAS[table].names, SCHEMAS[table].types, strict=True)
        if not str(kind).startswith("list<")
    ]
    return st.lists(st.fixed_dictionaries(dict.fromkeys(flat, anything)), min_size=1, max_size=8)


@relaxed
@given(rows_of("events"), rows_of("items"), rows_of("profiles"), rows_of("queries"))
def test_whatever_goes_in_what_comes_out_is_valid_and_every_row_is_accounted_for(
    events: list[Row], items: list[Row], profiles: list[Row], queries: list[Row]
) -> None:
    # One sound title: a source without any is refused as a whole.
    source = service(
        events, items=[*items, {"item_id": "sound", "title": "Sound"}], profiles=profiles, queries=queries
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "tables")
        report = ingested(source, folder)
        validate(read_tables(folder))
        num_rejected = {table: len(rejected(folder, table)) for table in SCHEMAS}
    given_rows = {"events": events, "items": [*items, {}], "profiles": profiles, "queries": queries}
    for table, rows in given_rows.items():
        assert report.num_read[table] == len(rows)
        assert report.num_written[table] == len(rows) + report.added[table] - num_rejected[table]
