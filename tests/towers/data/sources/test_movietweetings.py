from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.towers.data.sources.raw_rows import faults, ingested, rows, write
from towers.data.schema import Tables
from towers.data.sources.movietweetings import MovieTweetingsSettings, read_movietweetings
from towers.errors import ConfigError, MissingDataError

RATINGS = "1::0114709::9::1365029107\n1::0114369::10::1366576639\n2::0114709::0::1364690142\n"
MOVIES = (
    "0114709::Toy Story (1995)::Animation|Comedy\n"
    "0114369::Se7en (1995)::Crime\n"
    "0000417::Le voyage dans la lune (1902)::\n"
    "0102030::2012 (2009)::Drama\n"
    "0102031::(1999)::\n"
)
LINKS = "movieId,imdbId,tmdbId\n1,0114709,862\n47,0114369,\n3,0000417,775\n"
TMDB = (
    "id,cast,director,vote_average\n"
    "862,Tom Hanks|Tim Allen,John Lasseter,7.9\n"
    "775,Georges MÃ©liÃ¨s,Georges MÃ©liÃ¨s,7.8\n"
)


def folder(tmp_path: Path, ratings: str = RATINGS) -> Path:
    root = tmp_path / "movietweetings"
    write(root, "ratings.dat", ratings)
    write(root, "movies.dat", MOVIES)
    return root


def test_ratings_and_movies_are_read_with_their_years_and_genres(tmp_path: Path) -> None:
    source = read_movietweetings(MovieTweetingsSettings(root=str(folder(tmp_path))))
    assert source.profiles == ()
    tables, report = ingested(source, tmp_path)
    assert tables.items.select(["item_id", "title", "release_year", "genres"]).to_pylist() == [
        {"item_id": "0114709", "title": "Toy Story", "release_year": 1995, "genres": ["Animation", "Comedy"]},
        {"item_id": "0114369", "title": "Se7en", "release_year": 1995, "genres": ["Crime"]},
        {"item_id": "0000417", "title": "Le voyage dans la lune", "release_year": 1902, "genres": None},
        {"item_id": "0102030", "title": "2012", "release_year": 2009, "genres": ["Drama"]},
        {"item_id": "0102031", "title": "(1999)", "release_year": None, "genres": None},
    ]
    events = sorted(
        (each["profile_id"], each["item_id"], each["stars"], each["start"].timestamp())
        for each in tables.events.to_pylist()
    )
    assert events == [
        ("1", "0114369", 10.0, 1366576639.0),
        ("1", "0114709", 9.0, 1365029107.0),
        ("2", "0114709", 0.0, 1364690142.0),
    ]
    assert report.counts == ()


def test_bad_ratings_are_rows_with_their_line_and_fault(tmp_path: Path) -> None:
    root = folder(tmp_path, RATINGS + "3::0114709::8\n\n4::0114709::8::1::2\n")
    (events,) = read_movietweetings(MovieTweetingsSettings(root=str(root))).events
    assert faults(events) == [
        (4, "3 fields; expected 4", "3::0114709::8"),
        (6, "5 fields; expected 4", "4::0114709::8::1::2"),
    ]


def test_tmdb_is_joined_through_links_without_leading_zeros(tmp_path: Path) -> None:
    write(tmp_path, "links.csv", LINKS.replace(",0114709", ",114709"))
    write(tmp_path, "tmdb_movies.csv", TMDB)
    settings = MovieTweetingsSettings(str(folder(tmp_path)), tmdb=str(tmp_path), links=str(tmp_path))
    source = read_movietweetings(settings)
    assert settings.title == "movietweetings with TMDB"
    assert rows(source.items[0], "item_id", "cast", "directors", "rating")[:3] == [
        ("0114709", ["Tom Hanks", "Tim Allen"], ["John Lasseter"], 7.9),
        ("0114369", None, None, None),
        ("0000417", ["Georges Méliès"], ["Georges Méliès"], 7.8),
    ]
    assert source.repaired == {"decoded twice": 2}


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"nowhere: no such folder; expected ratings.dat there"):
        read_movietweetings(MovieTweetingsSettings(root=str(tmp_path / "nowhere")))
    root = folder(tmp_path)
    (root / "movies.dat").unlink()
    with pytest.raises(MissingDataError, match=r"expected movies.dat there, plain or .gz"):
        read_movietweetings(MovieTweetingsSettings(root=str(root)))
    with pytest.raises(ConfigError, match=r"data.links: found null; expected MovieLens' links.csv"):
        read_movietweetings(MovieTweetingsSettings(root=str(folder(tmp_path)), tmdb=str(tmp_path)))


@pytest.fixture(scope="module")
def published(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    settings = MovieTweetingsSettings(
        str(real_data / "movietweetings-100k"),
        tmdb=str(real_data / "tmdb-movies"),
        links=str(real_data / "ml-latest-small"),
    )
    tables, report = ingested(read_movietweetings(settings), tmp_path_factory.mktemp("movietweetings"))
    assert {(c.table, c.rule) for c in report.counts} <= {
        ("items", "decoded twice"),
        ("events", "time_travel"),
    }
    return tables


def test_the_published_snapshot_has_its_counts(published: Tables) -> None:
    assert published.events.num_rows == 100_000
    assert published.profiles.num_rows == 16_554
    assert published.items.num_rows == 10_506
    assert published.items["genres"].null_count == 66
    assert published.items["release_year"].null_count == 0
    per_profile = pc.value_counts(published.events["profile_id"]).field("counts")
    assert pc.sum(pc.greater_equal(per_profile, 5)).as_py() == 4_692


def test_the_join_of_the_published_snapshot_covers_what_is_published(published: Tables) -> None:
    joined = published.items.filter(pc.is_valid(published.items["rating"]))["item_id"]
    assert len(joined) == 4_165
    share = pc.mean(pc.is_in(published.events["item_id"], value_set=pa.array(joined.to_pylist()))).as_py()
    assert share == pytest.approx(0.807, abs=0.001)
