"""The real ml-latest-small with both joins, against the figures published with it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.towers.data.sources.raw_rows import ingested, rows
from towers.data.dataset import dataset_from_tables
from towers.data.raw import ROW, RawSource
from towers.data.schema import Tables
from towers.data.sources.movielens import MovieLensSettings, read_movielens


@pytest.fixture(scope="module")
def source(real_data: Path) -> RawSource:
    return read_movielens(
        MovieLensSettings(
            root=str(real_data / "ml-latest-small"),
            tmdb=str(real_data / "tmdb-movies"),
            people=str(real_data / "dbpedia-movie-people"),
        )
    )


@pytest.fixture(scope="module")
def tables(source: RawSource, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    tables, report = ingested(source, tmp_path_factory.mktemp("movielens"))
    assert {(c.table, c.rule) for c in report.counts} <= {
        ("events", "time_travel"),
        ("items", "decoded twice"),
    }
    return tables


def item(tables: Tables, item_id: str) -> dict[str, object]:
    (row,) = tables.items.filter(pc.equal(tables.items["item_id"], item_id)).to_pylist()
    assert isinstance(row, dict)
    return row


def known(column: pa.ChunkedArray) -> int:
    return len(column) - int(column.null_count)


def test_the_counts_are_those_that_are_published(tables: Tables) -> None:
    assert tables.events.num_rows == 100_836
    assert tables.profiles.num_rows == 610
    assert tables.items.num_rows == 9_742
    assert pc.count_distinct(tables.events["item_id"]).as_py() == 9_724


def test_the_joins_cover_what_is_published(tables: Tables) -> None:
    # Every joined movie has a mean vote, so this counts the movies that TMDB knows.
    assert known(tables.items["rating"]) == 6_214
    # Published are 6,865: they count the 15 joined movies (documentaries, cartoons) that have no cast at all.
    assert known(tables.items["cast"]) == 6_865 - 15
    rated = pc.is_in(
        tables.events["item_id"], tables.items.filter(pc.is_valid(tables.items["cast"]))["item_id"]
    )
    assert pc.mean(rated).as_py() == pytest.approx(0.916, abs=0.001)


def test_titles_years_and_genres_are_told_apart(tables: Tables) -> None:
    assert item(tables, "318")["title"] == "The Shawshank Redemption"
    assert item(tables, "318")["release_year"] == 1994
    assert item(tables, "40697") | {"title": "Babylon 5", "release_year": None} == item(tables, "40697")
    assert item(tables, "171749")["release_year"] == 2006
    assert tables.items["release_year"].null_count == 12
    genres = {genre for genres in tables.items["genres"].to_pylist() for genre in genres or []}
    assert len(genres) == 19  # the 18 of the README, Children's spelt Children there, and IMAX
    assert tables.items["genres"].null_count == 34


def test_cast_and_directors_are_those_of_the_film(tables: Tables) -> None:
    matrix = item(tables, "2571")
    assert matrix["title"] == "The Matrix"
    assert matrix["directors"] == ["Lilly Wachowski", "Lana Wachowski"]
    assert isinstance(matrix["cast"], list)
    assert matrix["cast"][:2] == ["Keanu Reeves", "Laurence Fishburne"]
    assert item(tables, "4993")["title"] == "The Lord of the Rings: The Fellowship of the Ring"


def test_the_first_rating_of_the_file_is_its_second_line(source: RawSource, tables: Tables) -> None:
    first = rows(source.events[0], ROW, "profile_id", "item_id", "stars", "start")[0]
    assert first == (2, "1", "1", "4.0", "964982703")
    mine = tables.events.filter(pc.equal(tables.events["profile_id"], "1"))
    (event,) = mine.filter(pc.equal(mine["item_id"], "1")).to_pylist()
    assert event["stars"] == 8.0
    assert event["start"].timestamp() == 964_982_703


def test_every_profile_has_its_twenty_ratings_in_the_dataset(tables: Tables) -> None:
    dataset = dataset_from_tables(tables)
    assert dataset.history.num_events == 100_836
    assert dataset.history.lengths.min() == 20
