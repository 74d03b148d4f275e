import gzip
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.towers.data.movielens_folders import CSV, DAT, ML_100K, write_folder
from tests.towers.data.sources.raw_rows import ingested
from towers.data.schema import Tables
from towers.data.sources.movielens import MovieLensSettings, read_movielens
from towers.errors import ConfigError, MissingDataError, ParseError

TMDB = (
    "id,popularity,original_title,cast,director,vote_count,vote_average\n"
    "807,3.1,Se7en,Brad Pitt|Morgan Freeman|Gwyneth Paltrow,David Fincher,5000,8.1\n"
    "862,2.2,Toy Story,Tom Hanks|Tim Allen|Tom Hanks| |Don Rickles,John Lasseter|Ash Brannon,4000,7.5\n"
    "862,2.2,Toy Story again,Nobody,Nobody,1,1.0\n"
    "409926,0.1,Cosmos,,,0,0.0\n"
    "5,0.1,Never linked,Some One,Some Body,3,5.0\n"
)
PEOPLE = (
    "movieId,relation,name\n"
    "1,actor,Someone Else\n"
    "171495,actor,Carl Sagan\n171495,writer,Ann Druyan\n171495,director,Adrian Malone (director)\n"
    "500,actor,Michael Douglas\n500,actor,Annette Bening\n500,actor,Michael Douglas (actor)\n"
    "99999,actor,Of A Movie Not Here\n"
)


def read(
    folder: Path, tmdb: str | None = None, people: str | None = None, files: dict[str, str] = CSV
) -> Tables:
    write_folder(folder / "ml", files)
    for name, content in (("tmdb_movies.csv", tmdb), ("people.csv", people)):
        if content is not None:
            (folder / name).write_text(content, encoding="utf-8")
    source = read_movielens(
        MovieLensSettings(
            root=str(folder / "ml"),
            tmdb=None if tmdb is None else str(folder),
            people=None if people is None else str(folder / "people.csv"),
        )
    )
    return ingested(source, folder)[0]


def column(tables: Tables, name: str) -> dict[str, object]:
    return dict(zip(tables.items["item_id"].to_pylist(), tables.items[name].to_pylist(), strict=True))


def test_tmdb_gives_cast_in_billing_order_directors_and_rating_through_the_links(tmp_path: Path) -> None:
    tables = read(tmp_path, TMDB)
    assert column(tables, "cast") == {
        "1": ["Tom Hanks", "Tim Allen", "Don Rickles"],
        "47": ["Brad Pitt", "Morgan Freeman", "Gwyneth Paltrow"],
        "500": None,  # its link has no tmdbId
        "171495": None,  # TMDB knows no cast
    }
    assert column(tables, "directors") == {
        "1": ["John Lasseter", "Ash Brannon"],
        "47": ["David Fincher"],
        "500": None,
        "171495": None,
    }
    assert column(tables, "rating") == pytest.approx({"1": 7.5, "47": 8.1, "500": None, "171495": None})
    assert column(tables, "duration_minutes") == dict.fromkeys(["1", "47", "500", "171495"])
    assert column(tables, "synopsis") == dict.fromkeys(["1", "47", "500", "171495"])


def test_runtime_and_overview_are_taken_where_the_table_has_them(tmp_path: Path) -> None:
    table = (
        "id,cast,director,vote_average,runtime,overview\n"
        '807,,,8.1,127,"Two detectives, one killer.\nSeven sins."\n862,,,7.5,0,\n'
    )
    tables = read(tmp_path, table)
    assert column(tables, "duration_minutes") == {"1": None, "47": 127.0, "500": None, "171495": None}
    assert column(tables, "synopsis")["47"] == "Two detectives, one killer.\nSeven sins."
    assert column(tables, "synopsis")["1"] is None


def test_the_day_of_release_is_taken_where_the_table_has_it(tmp_path: Path) -> None:
    table = "id,cast,director,vote_average,release_date\n807,,,8.1,1995-09-22\n862,,,7.5,\n"
    released = column(read(tmp_path, table), "released")
    assert released.pop("47") == datetime(1995, 9, 22, tzinfo=UTC)
    assert released == {"1": None, "500": None, "171495": None}


def test_people_fill_only_what_tmdb_leaves_empty(tmp_path: Path) -> None:
    tables = read(tmp_path, TMDB, PEOPLE)
    assert column(tables, "cast") == {
        "1": ["Tom Hanks", "Tim Allen", "Don Rickles"],
        "47": ["Brad Pitt", "Morgan Freeman", "Gwyneth Paltrow"],
        "500": ["Michael Douglas", "Annette Bening"],
        "171495": ["Carl Sagan"],
    }
    assert column(tables, "directors")["171495"] == ["Adrian Malone"]
    assert column(tables, "directors")["500"] is None


def test_people_join_without_tmdb(tmp_path: Path) -> None:
    tables = read(tmp_path, people=PEOPLE)
    assert column(tables, "cast")["1"] == ["Someone Else"]
    assert column(tables, "cast")["47"] is None
    assert column(tables, "rating") == dict.fromkeys(["1", "47", "500", "171495"])


def test_people_join_a_dat_folder_whose_movies_have_the_same_numbers(tmp_path: Path) -> None:
    people = "movieId,relation,name\n1193,actor,Jack Nicholson\n"
    assert column(read(tmp_path, people=people, files=DAT), "cast") == {
        "661": None,
        "1193": ["Jack Nicholson"],
        "73": None,
    }


def test_repeated_links_and_repeated_tmdb_rows_do_not_repeat_items(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    links = CSV["links.csv"] + "1,0114709,807\n47,0114369,807\n"
    with caplog.at_level(logging.INFO):
        tables = read(tmp_path, TMDB, files=CSV | {"links.csv": links})
    assert tables.items["item_id"].to_pylist() == ["1", "47", "500", "171495"]
    assert column(tables, "directors")["1"] == ["John Lasseter", "Ash Brannon"]
    assert "key=movieId num_repeats=2" in caplog.text
    assert "key=id num_repeats=1" in caplog.text
    assert (
        "joined TMDB num_movies=4 num_joined=3 num_with_cast=2 num_with_directors=2 num_with_rating=2"
        in caplog.text
    )


def test_names_that_were_decoded_wrongly_are_decoded_once_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ["Léa Seydoux".encode().decode("cp1252"), "Raffaella Carrà".encode().decode("cp1252")]
    assert broken[0] == "LÃ©a Seydoux"
    names = "|".join([*broken, "Zoë Kravitz", "Ãlex Angulo"])  # whole already; broken beyond repair
    table = f"id,cast,director,vote_average\n807,{names},{broken[1]},8.1\n"
    with caplog.at_level(logging.INFO):
        tables = read(tmp_path, table)
    assert column(tables, "cast")["47"] == ["Léa Seydoux", "Raffaella Carrà", "Zoë Kravitz", "Ãlex Angulo"]
    assert column(tables, "directors")["47"] == ["Raffaella Carrà"]
    assert "column=cast num_rows=1" in caplog.text
    settings = MovieLensSettings(root=str(tmp_path / "ml"), tmdb=str(tmp_path))
    assert read_movielens(settings).repaired == {"decoded twice": 2}


def test_a_table_is_given_as_a_file_or_a_folder_plain_or_gzipped(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "ml", CSV)
    zipped = tmp_path / "tmdb" / "tmdb_movies.csv.gz"
    zipped.parent.mkdir()
    zipped.write_bytes(gzip.compress(TMDB.encode()))
    by_file, by_folder = (
        read_movielens(MovieLensSettings(root=str(folder), tmdb=str(path))).items[0].frame.collect()
        for path in (zipped, zipped.parent)
    )
    assert by_file.equals(by_folder)
    assert by_file["rating"].null_count() == 2


def test_a_table_or_links_that_are_not_there_are_named(tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path / "ml", CSV))
    for settings, complaint in (
        (
            MovieLensSettings(root=folder, tmdb=str(tmp_path / "no")),
            r"no: no tmdb_movies.csv nor .* data.tmdb names",
        ),
        (
            MovieLensSettings(root=folder, people=str(tmp_path)),
            r"no people.csv nor people.csv.gz there; data.people",
        ),
    ):
        with pytest.raises(MissingDataError, match=complaint):
            read_movielens(settings)
    with pytest.raises(MissingDataError, match=r"links.csv: no such file.*data.tmdb=null"):
        read(tmp_path / "dat", TMDB, files=DAT)


def test_people_of_other_movies_are_not_joined_to_100k(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.people: ml-100k numbers its movies in a way of its own"):
        read(tmp_path, people=PEOPLE, files=ML_100K)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("id,cast,director,vote_average\n862,,,7.5\nx,,,7\n", r"tmdb_movies.csv:3: id is 'x'"),
        ("id,cast,director,vote_average\n862,,,11\n", r"tmdb_movies.csv:2: vote_average is '11'; .* 0 to 10"),
        (
            "id,cast,director\n862,,\n",
            r"tmdb_movies.csv:1: the header .* expected id,cast,director,vote_average",
        ),
    ],
)
def test_a_bad_row_of_a_table_is_named_with_file_and_line(tmp_path: Path, table: str, complaint: str) -> None:
    with pytest.raises(ParseError, match=complaint):
        read(tmp_path, table)
