import hashlib
import io
import logging
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import trustme
from omegaconf import OmegaConf

from tests.towers.data.https_site import Page, serving, trust
from tests.towers.data.movielens_folders import CSV, DAT, ML_100K, write_folder
from tests.towers.data.sources.raw_rows import faults, ingested
from tests.towers.data.sources.raw_rows import rows as raw_rows
from towers.data.dataset import dataset_from_tables
from towers.data.download import Archive
from towers.data.raw import RawSource
from towers.data.schema import Tables
from towers.data.sources.movielens import MovieLensSettings, read_movielens
from towers.data.sources.movielens_releases import ARCHIVES, MovieLensRelease
from towers.errors import ConfigError, MissingDataError, ParseError

RATINGS = "userId,movieId,rating,timestamp\n"


def opened(folder: Path, min_stars: float = 0.0) -> RawSource:
    return read_movielens(MovieLensSettings(root=str(folder), min_stars=min_stars))


def read(folder: Path) -> Tables:
    tables, report = ingested(opened(folder), folder.parent / f"{folder.name} ingested")
    assert report.counts == ()
    return tables


def events_of(tables: Tables) -> list[tuple[object, ...]]:
    return sorted(rows(tables.events, "profile_id", "item_id", "start", "stars"))


def rows(table: pa.Table, *columns: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in table.select(list(columns)).to_pylist()]


def seconds(n: int) -> datetime:
    return datetime.fromtimestamp(n, tz=UTC)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_csv_folder_is_read_plain_or_gzipped(tmp_path: Path, zipped: bool) -> None:
    tables = read(write_folder(tmp_path / "ml", CSV, zipped))
    assert rows(tables.items, "item_id", "title", "release_year", "genres") == [
        ("1", "Toy Story", 1995, ["Adventure", "Animation", "Children"]),
        ("47", "Seven (a.k.a. Se7en)", 1995, ["Mystery", "Thriller"]),
        ("500", "The American President", 1995, ["Comedy"]),
        ("171495", "Cosmos", None, None),
    ]
    assert events_of(tables) == [
        ("1", "1", seconds(964982703), 8.0),
        ("1", "47", seconds(964982704), 1.0),
        ("12", "500", seconds(964982000), 7.0),
        ("9", "1", seconds(964982700), 10.0),
    ]
    assert sorted(tables.profiles["profile_id"].to_pylist()) == ["1", "12", "9"]
    assert tables.queries.num_rows == 0


def test_what_movielens_does_not_say_is_null(tmp_path: Path) -> None:
    tables = read(write_folder(tmp_path, CSV))
    for table, unknown in (
        (tables.items, ["sub_genres", "cast", "directors", "countries", "language", "maturity", "rating",
                        "duration_minutes", "synopsis"]),
        (tables.events, ["minutes_watched", "country"]),
        (tables.profiles, ["country", "language", "gender", "age_band", "occupation", "postal_code"]),
    ):  # fmt: skip
        for name in unknown:
            assert table[name].null_count == table.num_rows, name


@pytest.mark.parametrize("zipped", [False, True])
def test_a_dat_folder_is_read_with_its_users(tmp_path: Path, zipped: bool) -> None:
    tables = read(write_folder(tmp_path, DAT, zipped))
    assert tables.items["title"].to_pylist() == [
        "James and the Giant Peach",
        "One Flew Over the Cuckoo's Nest",
        "Les Misérables",
    ]
    assert tables.items["genres"].to_pylist()[0] == ["Animation", "Children's", "Musical"]
    assert [(user, movie, stars) for user, movie, _, stars in events_of(tables)] == [
        ("1", "1193", 10.0),
        ("1", "661", 8.0),
        ("2", "661", 6.0),
    ]
    assert sorted(rows(tables.profiles, "profile_id", "gender", "age_band", "occupation", "postal_code")) == [
        ("1", "F", "Under 18", "K-12 student", "48067"),
        ("2", "M", "56+", "other", "70072-1234"),
        ("3", "M", "25-34", "scientist", "55117"),
    ]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_100k_folder_is_read_with_its_flags_and_users(tmp_path: Path, zipped: bool) -> None:
    tables = read(write_folder(tmp_path, ML_100K, zipped))
    assert rows(tables.items, "item_id", "title", "release_year", "genres") == [
        ("2", "GoldenEye", 1995, ["Action", "Adventure"]),
        ("242", "Kolya", 1997, ["Comedy"]),
        ("267", "unknown", None, None),
        ("300", "Délice", 1990, ["Comedy"]),
    ]
    assert events_of(tables)[:2] == [
        ("186", "2", seconds(891717742), 10.0),
        ("196", "242", seconds(881250949), 6.0),
    ]
    assert sorted(rows(tables.profiles, "profile_id", "gender", "age_band", "occupation", "postal_code")) == [
        ("186", "F", "Under 18", "other", "T8H1N"),
        ("196", "M", "45-49", "writer", "55105"),
        ("7", "M", "56+", "none", None),
    ]


@pytest.mark.parametrize(
    ("age", "band"),
    [(17, "Under 18"), (18, "18-24"), (24, "18-24"), (25, "25-34"), (35, "35-44"), (45, "45-49"),
     (49, "45-49"), (50, "50-55"), (55, "50-55"), (56, "56+")],
)  # fmt: skip
def test_an_exact_age_falls_into_the_band_whose_name_holds_it(tmp_path: Path, age: int, band: str) -> None:
    users = f"196|{age}|M|writer|55105\n186|30|F|other|T8H1N\n"
    source = opened(write_folder(tmp_path, ML_100K | {"u.user": users}))
    assert raw_rows(source.profiles[0], "age_band") == [(band,), ("25-34",)]


def test_codes_that_the_readme_does_not_have_stay_codes(tmp_path: Path) -> None:
    source = opened(write_folder(tmp_path / "dat", DAT | {"users.dat": "1::F::17::21::48067\n"}))
    assert raw_rows(source.profiles[0], "age_band", "occupation") == [("17", "21")]
    source = opened(write_folder(tmp_path / "100k", ML_100K | {"u.user": "1|old|M|writer|55105\n"}))
    assert raw_rows(source.profiles[0], "age_band") == [("old",)]


def test_the_tables_make_a_dataset(tmp_path: Path) -> None:
    dataset = dataset_from_tables(read(write_folder(tmp_path, CSV)))
    assert dataset.catalogue.ids == ("1", "47", "500", "171495")
    assert dataset.history.items_of(dataset.profiles.row("1")).tolist() == [0, 1]


def test_events_below_min_stars_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_folder(tmp_path, CSV)
    with caplog.at_level(logging.INFO):
        (events,) = opened(folder, min_stars=8.0).events
    assert raw_rows(events, "stars") == [("4.0",), ("5.0",)]
    assert "left out low ratings num_ratings=2 min_stars=8" in caplog.text
    odd = write_folder(tmp_path / "odd", CSV | {"ratings.csv": f"{RATINGS}1,1,much,9\n1,1\n1,1,3.5,9\n"})
    # What cannot be read is for the checks to reject.
    assert raw_rows(opened(odd, min_stars=8.0).events[0], "source_row", "stars") == [(2, "much"), (3, None)]


@pytest.mark.parametrize(
    ("files", "table", "name", "content", "fault"),
    [
        (CSV, "events", "ratings.csv", f"{RATINGS}1,1,4\n", (2, "3 fields; expected 4", "1,1,4")),
        (CSV, "items", "movies.csv", 'movieId,title,genres\n1,"Toy,Drama\n',
         (2, "unbalanced quote", '1,"Toy,Drama')),
        (DAT, "events", "ratings.dat", "1::1193::5\n", (1, "3 fields; expected 4", "1::1193::5")),
        (DAT, "items", "movies.dat", "661,Peach (1996),Drama\n",
         (1, "1 fields; expected 3", "661,Peach (1996),Drama")),
        (DAT, "profiles", "users.dat", "1::F\n", (1, "2 fields; expected 5", "1::F")),
        (ML_100K, "events", "u.data", "196\t242\n", (1, "2 fields; expected 4", "196\t242")),
        (ML_100K, "items", "u.item", "2|GoldenEye (1995)|01-Jan-1995|||0|1|2|0\n",
         (1, "a genre flag is neither 0 nor 1", "2|GoldenEye (1995)|01-Jan-1995|||0|1|2|0")),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_taken_apart_is_a_row_with_its_fault(
    tmp_path: Path,
    files: dict[str, str],
    table: str,
    name: str,
    content: str,
    fault: tuple[int, str, str],
) -> None:
    (raw,) = getattr(opened(write_folder(tmp_path, files | {name: content})), table)
    assert faults(raw) == [fault]


@pytest.mark.parametrize(
    ("files", "name", "content", "complaint"),
    [
        (CSV, "ratings.csv", "", r"ratings.csv:1: the file is empty"),
        (CSV, "movies.csv", "movieId,title\n1,Toy Story (1995)\n", r"movies.csv:1: the header"),
        (ML_100K, "u.genre", "unknown|0\nAction|2\n", r"u.genre:1: genres numbered \[0, 2\]"),
    ],
)
def test_a_file_that_cannot_be_told_apart_at_all_is_refused(
    tmp_path: Path, files: dict[str, str], name: str, content: str, complaint: str
) -> None:
    with pytest.raises(ParseError, match=complaint):
        opened(write_folder(tmp_path, files | {name: content}))


@pytest.mark.parametrize(
    ("line", "rule", "column"),
    [
        ("1,x,4,964982703", "unknown_item", "item_id"),
        ("1,1,five,964982703", "type", "stars"),
        ("1,1,5.5,964982703", "range", "stars"),
        ("1,1,4,-9", "clock", "start"),
        ("1,1,4,964982703000", "clock", "start"),
        ("1,8888,4.0,964982703", "unknown_item", "item_id"),
        (",1,4,964982703", "missing", "profile_id"),
        ("1,1,3.0,964982703", "duplicate_event", "start"),
    ],
)
def test_a_rating_that_cannot_be_is_rejected_with_its_line(
    tmp_path: Path, line: str, rule: str, column: str
) -> None:
    ratings = f"{RATINGS}1,1,4.0,964982703\n{line}\n9,47,3.0,964982703\n"
    folder = write_folder(tmp_path / "ml", CSV | {"ratings.csv": ratings})
    tables, report = ingested(opened(folder), tmp_path)
    assert tables.events.num_rows == 2
    assert [(c.table, c.rule, c.column, c.num_rows, c.example) for c in report.counts] == [
        ("events", rule, column, 1, f"{folder / 'ratings.csv'}:3")
    ]


def test_a_movie_that_stands_twice_is_kept_once(tmp_path: Path) -> None:
    twice = CSV["movies.csv"] + "47,Seven again (1995),Crime\n"
    source = opened(write_folder(tmp_path / "ml", CSV | {"movies.csv": twice}))
    tables, report = ingested(source, tmp_path)
    assert tables.items["title"].to_pylist()[1] == "Seven (a.k.a. Se7en)"
    assert [(c.table, c.rule, c.num_rows) for c in report.counts] == [("items", "duplicate_id", 1)]


def test_bytes_that_are_no_utf8_are_read_as_windows_1252_and_counted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "ml", CSV)
    (folder / "movies.csv").write_bytes("movieId,title,genres\n1,Amélie (2001),Comedy\n".encode("latin-1"))
    (raw,) = opened(folder).items
    assert faults(raw) == [(2, "not utf-8", "1,Amélie (2001),Comedy")]
    assert raw_rows(raw, "title", "release_year") == [("Amélie", 2001)]


def test_a_missing_folder_is_named_with_the_two_ways_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError) as caught:
        read(tmp_path / "nowhere")
    message = str(caught.value)
    assert str(tmp_path / "nowhere") in message
    assert "https://grouplens.org/datasets/movielens/" in message
    assert "data.download=true" in message


def test_an_incomplete_folder_is_told_what_it_lacks(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "dat", {"ratings.dat": DAT["ratings.dat"]})
    with pytest.raises(MissingDataError, match=r"movies.dat, users.dat missing"):
        read(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        MissingDataError, match=r"no MovieLens ratings there; expected ratings.csv, movies.csv, or"
    ):
        read(tmp_path / "empty")


def test_neither_profile_ids_nor_titles_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ratings = "userId,movieId,rating,timestamp\n424242424,1,4.0,964982703\n"
    folder = write_folder(tmp_path, CSV | {"ratings.csv": ratings})
    with caplog.at_level(logging.DEBUG):
        read(folder)
    assert "opened MovieLens shape=csv num_items=4" in caplog.text
    assert "424242424" not in caplog.text


def test_the_settings_are_a_structured_config() -> None:
    config = OmegaConf.merge(OmegaConf.structured(MovieLensSettings), {"root": "ml", "release": "ML_1M"})
    settings = OmegaConf.to_object(config)
    assert settings == MovieLensSettings(root="ml", release=MovieLensRelease.ML_1M)
    with pytest.raises(ConfigError, match=r"data.min_stars: 11.0 is out of range; expected <= 10"):
        read_movielens(MovieLensSettings(root="ml", min_stars=11.0))


def test_every_release_has_a_pinned_hash_and_an_https_address() -> None:
    assert set(ARCHIVES) == set(MovieLensRelease)
    for release, archive in ARCHIVES.items():
        assert archive.url == f"https://files.grouplens.org/datasets/movielens/{release.value}.zip"
        assert len(bytes.fromhex(archive.sha256)) == 32
        assert archive.folder == release.value
    assert len({archive.sha256 for archive in ARCHIVES.values()}) == len(ARCHIVES)


def test_a_folder_named_as_another_release_is_not_filled_with_the_wrong_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.release: ml-latest-small .* expected data.release=ml-1m"):
        read_movielens(MovieLensSettings(root=str(tmp_path / "ml-1m"), download=True))
    assert list(tmp_path.iterdir()) == []


def test_download_fetches_a_missing_folder_once_and_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in CSV.items():
            archive.writestr(f"ml-latest-small/{name}", content)
    body = buffer.getvalue()
    authority = trustme.CA()
    monkeypatch.setenv("SSL_CERT_FILE", str(trust(authority, tmp_path)))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(authority) as site:
        site.pages["/ml-latest-small.zip"] = Page(body)
        pinned = Archive(
            site.url("/ml-latest-small.zip"),
            hashlib.sha256(body).hexdigest(),
            "ml-latest-small",
            10**6,
            10**6,
        )
        monkeypatch.setitem(ARCHIVES, MovieLensRelease.ML_LATEST_SMALL, pinned)
        settings = MovieLensSettings(root=str(tmp_path / "data" / "ml-latest-small"), download=True)
        assert len(raw_rows(read_movielens(settings).events[0], "stars")) == 4
        assert len(raw_rows(read_movielens(settings).events[0], "stars")) == 4
        assert len(site.asked) == 1
