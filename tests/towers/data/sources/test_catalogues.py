from pathlib import Path

import pyarrow.compute as pc
import pytest

from tests.towers.data.sources.raw_rows import attributes_of, faults, ingested, rows, write
from towers.data.sources.catalogues import CatalogueSettings, read_catalogues
from towers.errors import MissingDataError

HEADER = (
    "show_id,type,title,director,cast,country,date_added,release_year,rating,duration,listed_in,description\n"
)
NETFLIX = HEADER + (
    's1,Movie,Sugar,Ann Lee,"Bo Day, Cy Fox","United States, India,","September 25, 2021",2020,PG-13,90 min,'
    '"Dramas, International Movies","A film.\nIn two lines."\n'
    's2,TV Show,Salt,,,,"August 4, 2017",2021,TV-MA,2 Seasons,"TV Comedies, TV Dramas",Two friends.\n'
    "s3,Movie,Misplaced,,,,,2017,74 min,,Movies,A film.\n"
)
AMAZON = HEADER + (
    's1,Movie,Art,,,,,2014,,113 min,"Arts, Entertainment, and Culture, Comedy",On art.\n'
    "s2,TV Show,Odd,,,,,2014,1 Season,,Anime,Seasons in the wrong place.\n"
    "s3,Movie,Long,,,,,2014,18+,two hours,Western,Not a number.\n"
)


def folder(tmp_path: Path) -> CatalogueSettings:
    write(tmp_path / "svod", "netflix_titles.csv", NETFLIX)
    write(tmp_path / "svod", "amazon_prime_titles.csv", AMAZON)
    return CatalogueSettings(root=str(tmp_path / "svod"))


def test_titles_have_all_their_metadata(tmp_path: Path) -> None:
    tables, _ = ingested(read_catalogues(folder(tmp_path)), tmp_path)
    items = {each["item_id"]: each for each in tables.items.to_pylist()}
    film = items["netflix:s1"]
    assert (
        film
        | {
            "title": "Sugar",
            "release_year": 2020,
            "genres": ["Drama"],
            "sub_genres": ["Dramas", "International Movies"],
            "cast": ["Bo Day", "Cy Fox"],
            "directors": ["Ann Lee"],
            "countries": ["United States", "India"],
            "maturity": "PG-13",
            "duration_minutes": 90.0,
            "synopsis": "A film.\nIn two lines.",
        }
        == film
    )
    assert items["netflix:s2"]["genres"] == ["Comedy", "Drama"]
    assert items["netflix:s2"]["duration_minutes"] is None
    assert items["amazon_prime:s1"]["sub_genres"] == ["Arts Entertainment and Culture", "Comedy"]
    assert items["netflix:s3"]["genres"] is None
    assert tables.events.num_rows == 0


def test_a_series_has_its_seasons_and_every_title_its_type_day_and_service(tmp_path: Path) -> None:
    amazon, netflix = read_catalogues(folder(tmp_path)).items
    assert attributes_of(netflix)[:2] == [
        {"service": "netflix", "type": "Movie", "date_added": "September 25, 2021"},
        {"service": "netflix", "type": "TV Show", "date_added": "August 4, 2017", "num_seasons": "2"},
    ]
    assert attributes_of(amazon)[1] == {"service": "amazon_prime", "type": "TV Show", "num_seasons": "1"}


def test_a_duration_in_the_place_of_the_certificate_is_put_right_and_counted(tmp_path: Path) -> None:
    source = read_catalogues(folder(tmp_path))
    amazon, netflix = source.items
    assert rows(netflix, "maturity", "duration_minutes")[2] == (None, "74")
    assert rows(amazon, "maturity", "duration_minutes")[1] == (None, None)
    assert source.repaired == {"duration in the rating column": 2}
    _, report = ingested(source, tmp_path)
    counted = {(c.rule, c.column, c.num_rows) for c in report.counts}
    # A duration that is none is found by the checks.
    assert counted == {("duration in the rating column", "", 2), ("type", "duration_minutes", 1)}


def test_a_record_that_cannot_be_taken_apart_is_a_row_with_its_fault(tmp_path: Path) -> None:
    settings = folder(tmp_path)
    write(tmp_path / "svod", "hulu_titles.csv", HEADER + 's1,Movie,"Open\n')
    assert faults(read_catalogues(settings).items[1]) == [(2, "unbalanced quote", 's1,Movie,"Open')]


def test_a_folder_without_catalogues_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no \*_titles.csv; expected catalogues"):
        read_catalogues(CatalogueSettings(root=str(tmp_path)))


def test_the_published_catalogues_have_their_counts(real_data: Path, tmp_path: Path) -> None:
    source = read_catalogues(CatalogueSettings(root=str(real_data / "svod-catalogues")))
    tables, report = ingested(source, tmp_path)
    items = tables.items.drop_columns("attributes")
    services = pc.value_counts(pc.list_element(pc.split_pattern(items["item_id"], ":"), 0))
    assert {each["values"]: each["counts"] for each in services.to_pylist()} == {
        "amazon_prime": 9_668, "disney_plus": 1_450, "hulu": 3_073, "netflix": 8_807,
    }  # fmt: skip
    assert {c.rule for c in report.counts} == {"duration in the rating column"}
    (louis,) = items.filter(pc.equal(items["item_id"], "netflix:s5542")).to_pylist()
    assert (louis["title"], louis["maturity"], louis["duration_minutes"]) == ("Louis C.K. 2017", None, 74.0)
    assert not pc.any(pc.match_substring_regex(items["maturity"], "min|Season")).as_py()
    of_hulu = items.filter(pc.starts_with(items["item_id"], "hulu:"))
    assert of_hulu["cast"].null_count == of_hulu.num_rows
