"""A data card says what is in the tables, and nothing of few profiles."""

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from tests.forked import run_program
from tests.towers.data.card.folders import folder_of
from tests.worlds import DAY_SECONDS, START_SECONDS, log_tables, tiny_tables
from towers.data.card.card import measure_card, write_card
from towers.data.card.figures import Card, Column, Named
from towers.data.card.page import markdown
from towers.data.card.terminal import render
from towers.data.card.wording import findings
from towers.data.ingest.report import Count, IngestReport, Outcome
from towers.data.schema import EVENTS, ITEMS, PROFILES, QUERIES, TIME, Tables, table
from towers.errors import MissingDataError, QueryError

REPORT = IngestReport(
    title="A small | service",
    num_read={"items": 6, "events": 8, "profiles": 4, "queries": 2},
    num_written={"items": 5, "events": 7, "profiles": 4, "queries": 2},
    added={"items": 0, "events": 0, "profiles": 0, "queries": 0},
    counts=(
        Count("events", "unknown_item", "item_id", Outcome.REJECTED, 1, "/srv/ana/plays.csv:17"),
        Count("events", "time_travel", "start", Outcome.WARNED, 2),
    ),
    seconds=0.5,
)


def column(card: Card, table_name: str, name: str) -> Column:
    return next(each for each in card.table(table_name).columns if each.name == name)


def edges_with(counts: tuple[int, ...], edges: tuple[float, ...]) -> dict[float, int]:
    return {edge: count for edge, count in zip(edges, counts, strict=True) if count}


@pytest.fixture
def tiny(tmp_path: Path) -> Card:
    return measure_card(folder_of(tiny_tables(), tmp_path / "tables"), min_profiles=1)


def test_rows_nulls_and_ranges_are_those_of_the_tables(tiny: Card) -> None:
    assert [(each.name, each.num_rows) for each in tiny.tables] == [
        ("items", 5),
        ("events", 7),
        ("profiles", 4),
        ("queries", 2),
    ]
    year = column(tiny, "items", "release_year")
    assert (year.num_null, year.low, year.median, year.high) == (1, "1998", "2001", "2020")
    assert column(tiny, "items", "rating").high == "8"
    minutes = column(tiny, "events", "minutes_watched")
    assert (minutes.num_null, minutes.low, minutes.median, minutes.high) == (1, "12.5", "40", "110")
    start = column(tiny, "events", "start")
    assert (start.low, start.high) == ("2023-11-14", "2023-11-19")
    assert column(tiny, "events", "stars") == Column("stars", "number", 7)


def test_values_are_counted_and_the_most_frequent_come_first(tiny: Card) -> None:
    genres = column(tiny, "items", "genres")
    assert (genres.kind, genres.num_null, genres.num_distinct) == ("list", 1, 4)
    assert genres.top[:2] == (Named("Crime", 2), Named("Action", 1))
    assert column(tiny, "events", "country").top == (
        Named("GB", 2),
        Named("KR", 2),
        Named("FR", 1),
        Named("US", 1),
    )
    assert column(tiny, "events", "profile_id").num_distinct == 3


def test_what_was_watched_when_and_how_much_is_as_worked_out_by_hand(tiny: Card) -> None:
    b = tiny.behaviour
    assert (b.first_day, b.last_day) == ("2023-11-14", "2023-11-19")
    assert (b.num_profiles, b.num_items, b.num_cold) == (3, 4, 1)
    assert b.history_length is not None
    assert edges_with(b.history_length.counts, b.history_length.edges) == {2: 3}  # 3, 2 and 2 events
    assert b.history_length.mean == pytest.approx(7 / 3, abs=1e-4)
    assert b.history_length.median == 2.0
    assert b.minutes is not None
    assert edges_with(b.minutes.counts, b.minutes.edges) == {10: 1, 30: 1, 40: 1, 95: 1, 100: 1, 110: 1}
    assert b.completion is not None  # 30/110, 110/110, 95/95, 100/100, 12.5/100, 40/100
    assert edges_with(b.completion.counts, b.completion.edges) == {0.1: 1, 0.25: 1, 0.4: 1, 1.0: 3}
    assert b.events_over_time is not None
    assert b.events_over_time.period == "day"
    assert b.events_over_time.counts == (2, 1, 2, 1, 0, 1)
    assert b.events_over_time.starts[0] == "2023-11-14"
    assert b.new_titles is not None
    assert b.new_titles.counts == (2, 1, 1, 0, 0, 0)  # t1 and t2, then t3, then t4
    assert b.hours is not None
    assert b.hours == tuple(7 if hour == 22 else 0 for hour in range(24))
    assert b.top_titles[0] == Named("Sugar Rush", 3)


def test_popularity_counts_the_titles_that_nobody_watched(tiny: Card) -> None:
    popularity = tiny.behaviour.popularity
    assert popularity is not None
    assert popularity.ranks == (1, 2, 3, 4)
    assert popularity.events == (3, 2, 1, 1)
    counts = [0, 1, 1, 2, 3]
    pairs = sum(abs(one - other) for one in counts for other in counts)
    assert popularity.gini == pytest.approx(
        pairs / (2 * 5 * sum(counts))
    )  # mean difference over twice the mean
    assert popularity.top_share == pytest.approx(3 / 7, abs=1e-4)


def test_all_titles_alike_have_a_gini_index_of_zero(tmp_path: Path) -> None:
    tables = log_tables([(p, i, 0) for p in range(3) for i in range(4)], num_items=4, num_profiles=3)
    popularity = measure_card(folder_of(tables, tmp_path / "t")).behaviour.popularity
    assert popularity is not None
    assert popularity.gini == 0.0


def test_what_the_source_says_of_completion_comes_before_the_minutes(tmp_path: Path) -> None:
    tables = log_tables([(0, 0, 0), (0, 1, 1), (0, 2, 2)], num_items=3, num_profiles=1)
    events = tables.events.set_column(
        EVENTS.get_field_index("completion"),
        EVENTS.field("completion"),
        pa.array([0.25, None, None], pa.float32()),
    )
    tables = Tables(tables.items, events, tables.profiles, tables.queries)
    b = measure_card(folder_of(tables, tmp_path / "t")).behaviour
    assert b.minutes is None
    assert b.completion is not None
    assert edges_with(b.completion.counts, b.completion.edges) == {0.25: 1}


def test_plays_of_less_than_five_minutes_alone_have_their_sentence(tmp_path: Path) -> None:
    tables = log_tables([(0, 0, 0), (0, 1, 1)], num_items=2, num_profiles=1, minutes=[1.0, 2.0])
    words = dict(findings(measure_card(folder_of(tables, tmp_path / "t"))))
    assert words["minutes"] == "Per event a median of 1 minute, 1.5 on average; 100.0% under 5 minutes."
    assert words["history_length"] == "A median of 2 events per profile, 2.0 on average."


@pytest.mark.parametrize(
    ("num_days", "period", "num_periods"), [(98, "day", 98), (99, "week", 15), (1831, "month", 61)]
)
def test_a_longer_log_is_counted_by_longer_periods(
    num_days: int, period: str, num_periods: int, tmp_path: Path
) -> None:
    last = (num_days - 1) * DAY_SECONDS * 1000
    tables = log_tables([(0, 0, 0), (0, 1, last)], num_items=2, num_profiles=1)
    card = measure_card(folder_of(tables, tmp_path / "t"))
    b = card.behaviour
    assert b.events_over_time is not None
    assert b.events_over_time.period == period
    # 14 November 2023 is a Tuesday; its week begins on Monday the 13th.
    assert (
        b.events_over_time.starts[0]
        == {"day": "2023-11-14", "week": "2023-11-13", "month": "2023-11-01"}[period]
    )
    assert len(b.events_over_time.counts) == num_periods
    assert b.events_over_time.counts[0] == b.events_over_time.counts[-1] == 1
    assert sum(b.events_over_time.counts) == 2
    most = {
        "day": "on 14 November 2023",
        "week": "in the week of 13 November 2023",
        "month": "in November 2023",
    }
    assert f"most {most[period]} (1)." in dict(findings(card))["events_over_time"]


def shared_by(counts: dict[str, int]) -> Tables:
    """Profiles of which so many typed, were in, and watched, each value."""
    values = [value for value, count in counts.items() for _ in range(count)]
    ids = [f"person-{row}" for row in range(len(values))]
    times = pa.array([1000 * (START_SECONDS + row) for row in range(len(values))], TIME)
    return Tables(
        table(ITEMS, {"item_id": list(counts), "title": [f"Film {value}" for value in counts]}),
        table(
            EVENTS,
            {"profile_id": ids, "item_id": values, "start": times, "country": values, "region": values},
        ),
        table(
            PROFILES,
            {
                "profile_id": ids,
                "country": values,
                "postal_code": values,
                "occupation": values,
                "household_id": values,
                "attributes": [[{"name": "segment", "value": value}] for value in values],
            },
        ),
        table(QUERIES, {"profile_id": ids, "text": values, "time": times, "country": values}),
    )


def test_a_value_of_fewer_than_five_profiles_is_nowhere_on_the_card(tmp_path: Path) -> None:
    folder = folder_of(shared_by({"MANY": 5, "FEW": 4}), tmp_path / "t")
    card = write_card(folder)
    for name, columns in {
        "events": ["country", "region"],
        "profiles": ["country", "postal_code", "occupation"],
        "queries": ["text", "country"],
    }.items():
        for each in columns:
            found = column(card, name, each)
            assert (found.num_distinct, found.top, found.num_hidden) == (2, (Named("MANY", 5),), 1), each
    assert column(card, "profiles", "household_id").top == ()
    assert column(card, "profiles", "attributes").top == (Named("segment", 9),)
    assert card.behaviour.top_titles == (Named("Film MANY", 5),)
    for file in ("card.json", "card.md"):
        text = (folder / "card" / file).read_text()
        assert "MANY" in text
        assert "FEW" not in text
        assert "person-" not in text


def test_many_rows_of_one_profile_are_still_of_one_profile(tmp_path: Path) -> None:
    tables = shared_by({"MANY": 9})
    same = pa.array(["person-0"] * 9)
    tables = Tables(
        tables.items,
        tables.events.set_column(0, EVENTS.field("profile_id"), same),
        tables.profiles,
        tables.queries.set_column(0, QUERIES.field("profile_id"), same),
    )
    card = measure_card(folder_of(tables, tmp_path / "t"))
    assert column(card, "events", "country").top == ()
    assert column(card, "queries", "text").top == ()
    assert card.behaviour.top_titles == ()


def test_searches_of_nobody_known_are_not_shown(tmp_path: Path) -> None:
    tables = tiny_tables()
    times = pa.array([START_SECONDS * 1000] * 9, TIME)
    queries = table(QUERIES, {"profile_id": [None] * 9, "text": ["my own name"] * 9, "time": times})
    card = measure_card(
        folder_of(Tables(tables.items, tables.events, tables.profiles, queries), tmp_path / "t")
    )
    assert column(card, "queries", "text").top == ()


def test_the_page_shows_what_was_left_out_and_where_without_the_folder(tmp_path: Path) -> None:
    card = measure_card(folder_of(tiny_tables(), tmp_path / "t", REPORT))
    assert card.report == REPORT
    page = markdown(card, ())
    assert page.startswith("# Data card: A small \\| service\n")
    assert "| events | 7 | 8 | 1 | 0 |" in page
    assert "| events | unknown item | item\\_id | rejected | 1 | 12.5% | plays.csv:17 |" in page
    assert "| events | time travel | start | warned | 2 | 25.0% | – |" in page
    assert "/srv/ana" not in page


def test_a_title_with_markup_stays_text_on_the_page(tmp_path: Path) -> None:
    tables = log_tables([(p, 0, p) for p in range(5)], num_items=1, num_profiles=5)
    items = table(ITEMS, {"item_id": ["i0"], "title": ["![x](http://a.b/c.png) | <b>\n# Big"]})
    folder = folder_of(Tables(items, tables.events, tables.profiles, tables.queries), tmp_path / "t")
    page = markdown(measure_card(folder), ())
    assert "!\\[x\\](http://a.b/c.png) \\| \\<b\\> \\# Big (5)" in page


def test_the_same_tables_give_the_same_bytes_and_log_no_profile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("matplotlib")
    folder = folder_of(tiny_tables(), tmp_path / "t", REPORT)
    written = []
    for _ in range(2):
        with caplog.at_level(logging.INFO):
            card = write_card(folder, min_profiles=1)
        written.append({path.name: path.read_bytes() for path in (folder / "card").iterdir()})
    assert written[0] == written[1]
    assert {"card.json", "card.md", "popularity.png"} < set(written[0])
    assert json.loads(written[0]["card.json"]) == json.loads(json.dumps(card.to_json()))
    assert "ana" not in caplog.text.replace(str(tmp_path), "")


def test_figures_are_plain_values_for_json(tmp_path: Path) -> None:
    folder = folder_of(tiny_tables(), tmp_path / "t")
    read = json.loads(json.dumps(measure_card(folder, min_profiles=1).to_json()))
    assert read["behaviour"]["num_cold"] == 1
    (genres,) = (column for column in read["tables"][0]["columns"] if column["name"] == "genres")
    assert genres["top"][0] == {"name": "Crime", "num_rows": 2}


@pytest.mark.parametrize(
    "tables",
    [
        pytest.param(log_tables([], num_items=2, num_profiles=1), id="no events"),
        pytest.param(log_tables([], num_items=0, num_profiles=0), id="nothing at all"),
        pytest.param(log_tables([(0, 0, 0)], num_items=1, num_profiles=1), id="one event, all else null"),
    ],
)
def test_the_smallest_tables_have_a_card(
    tables: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tables, tmp_path / "t")
    card = write_card(folder)
    assert card.behaviour.num_profiles == min(1, tables.events.num_rows)
    page = (folder / "card" / "card.md").read_text()
    assert "nan" not in page.lower()
    assert f"| events | {tables.events.num_rows} |" in page
    Console(width=80).print(render(card))
    assert "events" in capsys.readouterr().out


def test_the_terminal_shows_the_same_figures(tiny: Card, capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=120).print(render(tiny))
    shown = " ".join(capsys.readouterr().out.split())
    assert "7 events of 3 profiles on 4 titles, from 14 November 2023 to 19 November 2023 (6 days)." in shown
    assert "1 of 5 titles in the catalogue (20.0%) without an event." in shown
    assert "most on 14 November 2023 (2). 1 day without any." in shown
    assert "Of the 85.7% of events that say it, a median of 40% of the title; 50.0% to the end" in shown


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    folder = folder_of(tiny_tables(), tmp_path / "t")
    (folder / "queries.parquet").unlink()
    with pytest.raises(MissingDataError, match=r"queries\.parquet: no such table"):
        write_card(folder)


def test_a_threshold_of_no_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="min_profiles = 0"):
        measure_card(folder_of(tiny_tables(), tmp_path / "t"), min_profiles=0)


def test_without_matplotlib_there_is_a_card_without_pictures_that_says_so(tmp_path: Path) -> None:
    folder = folder_of(tiny_tables(), tmp_path / "t")
    program = (
        # As if it were not installed: whatever has loaded it, or a part of it, by now.
        "import sys; parts = [each for each in sys.modules if each.startswith('matplotlib.')]\n"
        "sys.modules.update(dict.fromkeys(['matplotlib', *parts]))\n"
        "from pathlib import Path; from towers.data.card.card import write_card\n"
        "write_card(Path(sys.argv[1]))"
    )
    done = run_program(program, str(folder))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "card").iterdir()) == ["card.json", "card.md"]
    page = (folder / "card" / "card.md").read_text()
    assert "No pictures: they need matplotlib, which is not installed." in page
    assert "![" not in page


def test_every_value_of_a_large_log_is_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = [(int(p), int(i), int(t)) for p, i, t in rng.integers(0, [40, 90, 10**10], (20_000, 3))]
    minutes = rng.uniform(0.0, 300.0, len(rows)).astype(np.float32)
    b = measure_card(
        folder_of(log_tables(rows, num_items=95, num_profiles=40, minutes=minutes.tolist()), tmp_path / "t")
    ).behaviour
    per_title = np.bincount([item for _, item, _ in rows], minlength=95)
    assert b.popularity is not None
    assert b.popularity.events == tuple(np.sort(per_title)[::-1][np.array(b.popularity.ranks) - 1])
    assert b.num_cold == int(np.sum(per_title == 0))
    assert b.minutes is not None
    wanted = np.histogram(np.round(minutes.astype(np.float64), 1), [*b.minutes.edges, np.inf])[0]
    assert b.minutes.counts == tuple(wanted)
    assert b.minutes.median == pytest.approx(float(np.median(minutes)), abs=0.2)
    assert b.events_over_time is not None
    assert sum(b.events_over_time.counts) == 20_000
    assert b.new_titles is not None
    assert sum(b.new_titles.counts) == b.num_items
