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
from towers.data.dataset import dataset_from_tables
from towers.data.download import Archive
from towers.data.schema import Tables, validate
from towers.data.sources.movielens import MovieLensSettings, read_movielens
from towers.data.sources.movielens_releases import ARCHIVES, MovieLensRelease
from towers.errors import ConfigError, MissingDataError, ParseError, SchemaError

RATINGS = "userId,movieId,rating,timestamp\n"


def read(folder: Path) -> Tables:
    tables = read_movielens(MovieLensSettings(root=str(folder)))
    validate(tables)
    return tables


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
    assert rows(tables.events, "profile_id", "item_id", "start", "stars") == [
        ("1", "1", seconds(964982703), 8.0),
        ("1", "47", seconds(964982704), 1.0),
        ("9", "1", seconds(964982700), 10.0),
        ("12", "500", seconds(0), 7.0),
    ]
    assert tables.profiles["profile_id"].to_pylist() == ["1", "9", "12"]
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
    assert tables.events["item_id"].to_pylist() == ["1193", "661", "661"]
    assert tables.events["stars"].to_pylist() == [10.0, 6.0, 8.0]
    assert rows(tables.profiles, "profile_id", "gender", "age_band", "occupation", "postal_code") == [
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
    assert tables.events["profile_id"].to_pylist() == ["196", "186", "196"]
    assert tables.events["start"].to_pylist()[0] == seconds(881250949)
    assert rows(tables.profiles, "profile_id", "gender", "age_band", "occupation", "postal_code") == [
        ("196", "M", "45-49", "writer", "55105"),
        ("186", "F", "Under 18", "other", "T8H1N"),
        ("7", "M", "56+", "none", None),
    ]


@pytest.mark.parametrize(
    ("age", "band"),
    [(17, "Under 18"), (18, "18-24"), (24, "18-24"), (25, "25-34"), (35, "35-44"), (45, "45-49"),
     (49, "45-49"), (50, "50-55"), (55, "50-55"), (56, "56+")],
)  # fmt: skip
def test_an_exact_age_falls_into_the_band_whose_name_holds_it(tmp_path: Path, age: int, band: str) -> None:
    users = f"196|{age}|M|writer|55105\n186|30|F|other|T8H1N\n"
    tables = read(write_folder(tmp_path, ML_100K | {"u.user": users}))
    assert tables.profiles["age_band"].to_pylist() == [band, "25-34"]


def test_the_tables_make_a_dataset(tmp_path: Path) -> None:
    dataset = dataset_from_tables(read(write_folder(tmp_path, CSV)))
    assert dataset.catalogue.ids == ("1", "47", "500", "171495")
    assert dataset.history.items_of(dataset.profiles.row("1")).tolist() == [0, 1]


def test_events_below_min_stars_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_folder(tmp_path, CSV)
    with caplog.at_level(logging.INFO):
        tables = read_movielens(MovieLensSettings(root=str(folder), min_stars=8.0))
    assert tables.events["stars"].to_pylist() == [8.0, 10.0]
    assert tables.profiles["profile_id"].to_pylist() == ["1", "9", "12"]
    assert "left out low ratings num_ratings=2 min_stars=8" in caplog.text
    few = write_folder(tmp_path / "few", CSV | {"ratings.csv": "userId,movieId,rating,timestamp\n1,1,2,3\n"})
    with pytest.raises(SchemaError, match=r"no rating reaches data.min_stars=8"):
        read_movielens(MovieLensSettings(root=str(few), min_stars=8.0))


@pytest.mark.parametrize(
    ("files", "name", "content", "complaint"),
    [
        (CSV, "ratings.csv", f"{RATINGS}1,1,4,9\n1,x,4,9\n", r"ratings.csv:3: movieId is 'x'"),
        (CSV, "ratings.csv", f"{RATINGS}1,1,nan,9\n", r"ratings.csv:2: rating is 'nan'"),
        (CSV, "ratings.csv", f"{RATINGS}1,1,0,9\n", r"rating is '0'; expected .* 0.5 to 5"),
        (CSV, "ratings.csv", f"{RATINGS}1,1,4,-9\n", r"ratings.csv:2: timestamp is '-9'"),
        (CSV, "ratings.csv", f"{RATINGS}1,1,4,964982703000\n",
         r"timestamp is '964982703000'; expected an integer from 0 to 253402300799"),
        (CSV, "ratings.csv", "", r"ratings.csv:1: the file is empty"),
        (CSV, "movies.csv", "movieId,title\n1,Toy Story (1995)\n", r"movies.csv:1: the header"),
        (CSV, "movies.csv", "movieId,title,genres\n1,,Drama\n", r"movies.csv:2: title is ''"),
        (DAT, "ratings.dat", "1::1193::5\n", r"ratings.dat:1: '1::1193::5' has 3 fields; expected 4"),
        (DAT, "movies.dat", "661,Peach (1996),Drama\n", r"movies.dat:1: .* has 1 fields; expected 3"),
        (DAT, "users.dat", "1::F::17::10::48067\n", r"users.dat:1: age_band is '17'; expected one of 1, 18"),
        (DAT, "users.dat", "1::F::18::21::48067\n", r"users.dat:1: occupation is '21'; expected .* 0 to 20"),
        (ML_100K, "u.data", "196\t242\t3\tyesterday\n", r"u.data:1: timestamp is 'yesterday'"),
        (ML_100K, "u.item", "2|GoldenEye (1995)|01-Jan-1995|||0|1|2|0\n", r"u.item:1: Adventure is '2'"),
        (ML_100K, "u.genre", "unknown|0\nAction|2\n", r"u.genre:1: genres numbered \[0, 2\]"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_named_with_file_and_line(
    tmp_path: Path, files: dict[str, str], name: str, content: str, complaint: str
) -> None:
    with pytest.raises(ParseError, match=complaint):
        read(write_folder(tmp_path, files | {name: content}))


def test_a_movie_or_a_user_that_stands_twice_is_refused(tmp_path: Path) -> None:
    twice = CSV["movies.csv"] + "47,Seven (1995),Crime\n"
    with pytest.raises(SchemaError, match=r"movies.csv: movieId 47 stands in 2 rows \(1 ids repeat\)"):
        read(write_folder(tmp_path / "csv", CSV | {"movies.csv": twice}))
    with pytest.raises(SchemaError, match=r"users.dat: userId 1 stands in 2 rows"):
        read(write_folder(tmp_path / "dat", DAT | {"users.dat": DAT["users.dat"] + "1::M::18::3::1\n"}))


def test_ratings_of_unknown_movies_or_users_are_refused_with_their_count(tmp_path: Path) -> None:
    ratings = CSV["ratings.csv"] + "1,8888,4.0,5\n9,8888,4.0,5\n9,7777,1.0,6\n"
    with pytest.raises(
        SchemaError, match=r"ratings.csv: 3 ratings of 2 movieId not in movies.csv, the first 8888"
    ):
        read(write_folder(tmp_path / "csv", CSV | {"ratings.csv": ratings}))
    with pytest.raises(
        SchemaError, match=r"ratings.dat: 1 ratings of 1 userId not in users.dat, the first 99"
    ):
        read(write_folder(tmp_path / "dat", DAT | {"ratings.dat": DAT["ratings.dat"] + "99::661::3::5\n"}))


def test_files_without_rows_are_refused(tmp_path: Path) -> None:
    for name in ("ratings.csv", "movies.csv"):
        header = CSV[name].splitlines()[0] + "\n"
        with pytest.raises(SchemaError, match=rf"{name}: no rows"):
            read(write_folder(tmp_path / name, CSV | {name: header}))


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
    assert "num_items=4 num_profiles=1 num_events=1" in caplog.text
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
        assert read_movielens(settings).events.num_rows == 4
        assert read_movielens(settings).events.num_rows == 4
        assert len(site.asked) == 1
