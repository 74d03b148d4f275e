import gzip
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from conf.compose import compose_settings
from conf.schema import PipelineSettings
from tests.towers.data.sources.raw_rows import attributes_of, faults, ingested, rows, write
from towers.data.raw import ROW, RawSource, TimeUnit
from towers.data.sources.lines import TextFormat
from towers.data.sources.tables import TableSettings, TablesSettings, Unit, read_tables_source
from towers.errors import ConfigError, MissingDataError, ParseError

LOG = "account,video,at,secs,pct,grade,device\nana,v1,1700000000000,90,50,4.5,tv\nbo,v2,1700000060000,30,,,\n"
MAPPED = TableSettings(
    columns={
        "profile_id": "account",
        "item_id": "video",
        "start": "at",
        "minutes_watched": "secs",
        "completion": "pct",
        "stars": "grade",
    },
    units={"minutes_watched": Unit.SECONDS, "completion": Unit.PERCENT, "stars": Unit.OF_FIVE},
)


def given(settings: TableSettings, **changes: object) -> TableSettings:
    kept = {name: getattr(settings, name) for name in TableSettings.__dataclass_fields__}
    return TableSettings(**{**kept, **changes})


def read(**tables: object) -> RawSource:
    return read_tables_source(TablesSettings(**tables))  # type: ignore[arg-type]


def test_columns_are_mapped_and_units_scaled(tmp_path: Path) -> None:
    path = write(tmp_path, "log.csv", LOG)
    source = read(
        events=given(MAPPED, path=str(path), clock=TimeUnit.MILLISECONDS, constants={"country": "FR"})
    )
    tables, report = ingested(source, tmp_path)
    first, second = sorted(tables.events.to_pylist(), key=lambda event: str(event["profile_id"]))
    assert first["start"] == datetime.fromtimestamp(1_700_000_000, tz=UTC)
    assert (first["minutes_watched"], first["completion"], first["stars"]) == pytest.approx((1.5, 0.5, 9.0))
    assert (second["minutes_watched"], second["completion"], second["stars"]) == (0.5, None, None)
    assert tables.events["country"].to_pylist() == ["FR", "FR"]
    # Without items, titles are made of the events' ids.
    assert sorted(tables.items["title"].to_pylist()) == ["v1", "v2"]
    assert report.counts == ()


@pytest.mark.parametrize(
    ("unit", "number", "meant"),
    [("min", 90, 90), ("s", 90, 1.5), ("ms", 90_000, 1.5), ("h", 1.5, 90)],
)
def test_a_length_may_be_told_in_any_unit(tmp_path: Path, unit: str, number: float, meant: float) -> None:
    path = write(tmp_path, "items.csv", f"item_id,title,duration_minutes\nv1,A,{number}\n")
    tables, _ = ingested(
        read(items=TableSettings(path=str(path), units={"duration_minutes": Unit(unit)})), tmp_path
    )
    assert tables.items["duration_minutes"].to_pylist() == pytest.approx([meant])


def test_a_rating_may_be_of_a_hundred(tmp_path: Path) -> None:
    path = write(tmp_path, "items.csv", "item_id,title,rating\nv1,A,87\n")
    tables, _ = ingested(
        read(items=TableSettings(path=str(path), units={"rating": Unit.OF_HUNDRED})), tmp_path
    )
    assert tables.items["rating"].to_pylist() == pytest.approx([8.7])


def test_columns_of_the_schemas_names_need_no_mention_and_others_become_attributes(tmp_path: Path) -> None:
    items = "item_id,title,genres,studio,mood\nv1,A,Drama/Crime,Ufa,\nv2,B,,,sad\n"
    path = write(tmp_path, "items.csv.gz", gzip.compress(items.encode()))
    source = read(
        items=TableSettings(path=str(path), separators={"genres": "/"}, attributes=["studio", "mood"])
    )
    assert attributes_of(source.items[0]) == [{"studio": "Ufa"}, {"mood": "sad"}]
    tables, _ = ingested(source, tmp_path)
    assert tables.items["genres"].to_pylist() == [["Drama", "Crime"], None]


def test_several_files_are_read_one_after_the_other_each_with_its_own_rows(tmp_path: Path) -> None:
    for day in ("02", "01"):
        write(tmp_path / "logs", f"day={day}.csv", f"profile_id,item_id,start\np{day},v1,2024-01-{day}\nx\n")
    first, second = read(events=TableSettings(path=str(tmp_path / "logs" / "*.csv"))).events
    assert (first.path.name, second.path.name) == ("day=01.csv", "day=02.csv")
    assert rows(second, ROW, "profile_id")[0] == (2, "p02")
    assert faults(second) == [(3, "1 fields; expected 3", "x")]


def test_texts_without_a_header_take_their_names_from_the_settings(tmp_path: Path) -> None:
    path = write(tmp_path, "log.txt", "ana|v1|2024-01-01\n")
    events = TableSettings(
        path=str(path),
        names=["profile_id", "item_id", "start"],
        text=TextFormat("|", has_header=False, quoted=False),
    )
    assert rows(read(events=events).events[0], "profile_id", "start") == [("ana", "2024-01-01")]
    with pytest.raises(ConfigError, match=r"data.events.names: found none; expected the columns of a text"):
        read(events=given(events, names=[]))


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "user": [7, 8],
            "item": pl.Series(["v1", "v2"], dtype=pl.Categorical),
            "day": [date(2024, 1, 1), date(2024, 1, 2)],
            "watched": [timedelta(minutes=90), None],
            "plays": [1, 2],
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    events = TableSettings(
        path=str(tmp_path / "log.parquet"),
        columns={"profile_id": "user", "item_id": "item", "start": "day", "minutes_watched": "watched"},
    )
    source = read(events=events)
    assert rows(source.events[0], ROW, "profile_id", "item_id", "minutes_watched", "plays") == [
        (1, 7, "v1", 90.0, 1),
        (2, 8, "v2", None, 2),
    ]
    tables, report = ingested(source, tmp_path)
    assert sorted(tables.events["profile_id"].to_pylist()) == ["7", "8"]
    assert sorted(tables.events["start"].to_pylist())[0] == datetime(2024, 1, 1, tzinfo=UTC)
    assert report.counts == ()


def test_a_query_over_files_is_read_in_its_order(tmp_path: Path) -> None:
    path = write(tmp_path, "log.csv", LOG)
    query = (
        f'select account as profile_id, video as item_id, make_timestamp("at" * 1000) as start, '
        f"secs / 60 as minutes_watched from '{path}' order by account desc"
    )
    source = read(events=TableSettings(sql=query))
    assert rows(source.events[0], ROW, "profile_id", "minutes_watched") == [(1, "bo", 0.5), (2, "ana", 1.5)]
    tables, report = ingested(source, tmp_path)
    assert min(tables.events["start"].to_pylist()) == datetime.fromtimestamp(1_700_000_000, tz=UTC)
    assert report.counts == ()


def test_a_query_reads_a_database_of_its_own_and_changes_nothing(tmp_path: Path) -> None:
    database = str(tmp_path / "service.duckdb")
    with duckdb.connect(database) as connection:
        connection.execute("create table titles as select 'v' || range as id, range as n from range(250000)")
    settings = TablesSettings(
        items=TableSettings(sql="from titles", columns={"item_id": "id", "title": "id"}, attributes=["n"]),
        database=database,
    )
    items = read_tables_source(settings).items[0]
    assert [row[0] for row in rows(items, "item_id")] == [f"v{n}" for n in range(250_000)]
    assert rows(items, ROW)[-1] == (250_000,)
    with pytest.raises(ConfigError, match=r"data.items.sql: .*read-only"):
        read_tables_source(
            TablesSettings(items=TableSettings(sql="create table x as select 1 as a"), database=database)
        )


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("select nope from range(3)", "nope"),
        ("selekt 1", "syntax error"),
        ("", "the query gives no rows"),
        ("select 1 as a, 2 as a", "expected columns of different names"),
    ],
)
def test_a_query_that_cannot_be_run_is_refused(query: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=rf"^data.events.sql: .*{complaint}.*"):
        read(events=TableSettings(sql=query))


def test_a_query_that_fails_on_the_way_is_refused() -> None:
    query = "select case when range < 150000 then '1' else 'x' end::int as profile_id from range(200000)"
    known = {"item_id": "t1", "start": "2024-01-01"}
    events = read(events=TableSettings(sql=query, constants=known)).events[0]
    with pytest.raises(ConfigError, match=r"data.events.sql: Conversion Error"):
        events.frame.collect()


def test_without_duckdb_a_query_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ConfigError, match=r"pip install two-tower-retrieval\[sql\]"):
        read(events=TableSettings(sql="select 1 as a"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"columns": {"profile": "account"}}, r"data.events.columns.profile: .*; expected one of profile_id"),
        ({"columns": {"item_id": "vidoe"}}, r"data.events.columns.item_id: .*log.csv has no column 'vidoe'; "
                                            r"expected one of account, video, at"),
        ({"constants": {"colour": "red"}}, r"data.events.constants.colour: not such a column"),
        ({"constants": {"stars": "1"}}, r"data.events.constants.stars: also in data.events.columns"),
        ({"units": {"item_id": Unit.SECONDS}}, r"data.events.units.item_id: .*one of minutes_watched"),
        ({"separators": {"item_id": ","}}, r"data.events.separators.item_id: not such a column"),
        ({"attributes": ["device"]}, r"data.events.attributes: events have none"),
        ({"sql": "select 1"}, r"data.events.sql: found a query and data.events.path"),
        (
            {"columns": {"item_id": "video"}, "units": {}},
            r"events.columns: .*log.csv has no profile_id, start, only account",
        ),
        ({"path": None}, r"data.events.path: found null; expected a file, or a query in data.events.sql"),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_fit_names_its_key(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    path = write(tmp_path, "log.csv", LOG)
    with pytest.raises(ConfigError, match=complaint):
        read(events=given(MAPPED, **({"path": str(path)} | changes)))


def test_files_that_are_not_there_or_have_no_header_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"data.events.path: no file at .*nowhere/\*.csv"):
        read(events=TableSettings(path=str(tmp_path / "nowhere" / "*.csv")))
    with pytest.raises(ParseError, match=r"log.csv:1: the file is empty"):
        read(events=TableSettings(path=str(write(tmp_path, "log.csv", ""))))
    with pytest.raises(ParseError, match=r"log.parquet: .*expected a whole Parquet file"):
        read(events=TableSettings(path=str(write(tmp_path, "log.parquet", "PAR1 and then no more"))))
    with pytest.raises(ConfigError, match=r"data.events.path: found null; expected a file, or a query"):
        read()
    events = TableSettings(path=str(write(tmp_path, "log.csv", LOG)))
    with pytest.raises(
        ConfigError, match=r"data.items.path: found null; expected a file for data.items.columns"
    ):
        read(events=events, items=TableSettings(columns={"title": "name"}))


def test_everything_can_be_said_on_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "log.csv", LOG)
    composed = compose_settings(
        PipelineSettings,
        "train",
        (
            "data=tables",
            f"data.events.path={path}",
            "data.events.columns={profile_id: account, item_id: video, start: at, minutes_watched: secs}",
            "data.events.columns.completion=pct",
            "data.events.columns.stars=grade",
            "data.events.units={minutes_watched: s, completion: percent, stars: of_5}",
            "data.name=my service",
        ),
    ).data
    assert composed == TablesSettings(events=given(MAPPED, path=str(path)), name="my service")
    assert composed.title == "my service"


def test_play_counts_of_lastfm_are_read_through_their_option(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "lastfm-2k-plays" / "user_artist_plays.csv.gz"
    settings = compose_settings(PipelineSettings, "train", ("data=lastfm", f"data.events.path={path}")).data
    assert isinstance(settings, TablesSettings)
    tables, report = ingested(read_tables_source(settings), tmp_path)
    assert tables.events.num_rows == 52_668
    assert (tables.profiles.num_rows, tables.items.num_rows) == (1_880, 4_489)
    plays = tables.events["plays"].to_pylist()
    assert (min(plays), max(plays)) == (1, 324_660)
    assert report.counts == ()
