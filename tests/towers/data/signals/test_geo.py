"""What names a country becomes its ISO code; what does not stays null."""

import csv
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from towers.data.signals import geo
from towers.data.signals.geo import country_code, region_of, subdivision_code


def places(*texts: str | None) -> pl.DataFrame:
    """The country and region of each text."""
    text = pl.lit(pl.Series(texts, dtype=pl.String))
    return pl.select(country=country_code(text), region=subdivision_code(text))


def code(text: str | None) -> str | None:
    read: str | None = places(text)["country"][0]
    return read


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("US", "US"),
        ("usa", "US"),
        ("U.S.A.", "US"),
        (" The  United States ", "US"),
        ("United States of America", "US"),
        ("uk", "GB"),
        ("Great Britain", "GB"),
        ("DEU", "DE"),
        ("germany", "DE"),
        ("NA", "NA"),  # Namibia, and no missing value
        ("Côte d'Ivoire", "CI"),
        ("cote d’ivoire", "CI"),
        ("Ivory Coast", "CI"),
        ("TÜRKIYE", "TR"),
        ("Turkey", "TR"),
        ("Bosnia & Herzegovina", "BA"),
        ("St. Lucia", "LC"),
        ("South Korea", "KR"),
        ("Korea", None),  # which one?
        ("Czech Republic", "CZ"),
        ("Viet Nam", "VN"),
        ("Hong Kong", "HK"),
        ("Georgia", "GE"),
        ("US-CA", "US"),
        ("gb-eng", "GB"),
        ("XX-1", None),
        ("XX", None),
        ("West Germany", None),
        ("90210", None),
        ("51.5,-0.1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_country_is_known_however_it_is_written(text: str | None, wanted: str | None) -> None:
    assert code(text) == wanted


def test_a_subdivision_is_kept_as_iso_writes_it_and_nothing_finer_is() -> None:
    read = places("us-ca", "GB-ENG", "FR_75", "US-CA-90210", "Paris, FR", "XX-1", "US")
    assert read["region"].to_list() == ["US-CA", "GB-ENG", "FR-75", None, None, None, None]
    assert read["country"].to_list() == ["US", "GB", "FR", None, None, None, "US"]


def test_expressions_work_in_a_streaming_query() -> None:
    frame = pl.LazyFrame({"geo": ["usa", "GB-SCT", "?"] * 1000})
    read = frame.select(country=country_code(pl.col("geo")), region=subdivision_code(pl.col("geo"))).collect(
        engine="streaming"
    )
    assert read.unique(maintain_order=True).rows() == [("US", None), ("GB", "GB-SCT"), (None, None)]


def test_regions_are_those_of_the_united_nations() -> None:
    wanted = {
        "GB": "Northern Europe",
        "FR": "Western Europe",
        "US": "Northern America",
        "MX": "Central America",
        "BR": "South America",
        "JM": "Caribbean",
        "KE": "Eastern Africa",
        "NG": "Western Africa",
        "IN": "Southern Asia",
        "IR": "Southern Asia",
        "KR": "Eastern Asia",
        "VN": "South-eastern Asia",
        "CY": "Western Asia",
        "AU": "Australia and New Zealand",
        "AQ": None,
        "ZZ": None,
    }
    frame = pl.DataFrame({"country": list(wanted)})
    assert frame.select(region_of(pl.col("country"))).to_series().to_list() == list(wanted.values())


def test_the_table_has_every_country_once_and_no_spelling_of_two() -> None:
    with Path(geo.__file__).with_name("countries.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 249  # officially assigned, ISO 3166-1
    assert len({row["code"] for row in table}) == len({row["alpha_3"] for row in table}) == 249
    spellings = Counter(
        text.lower() for row in table for text in {row["code"], row["alpha_3"], *row["names"].split(";")}
    )
    assert [text for text, count in spellings.items() if count > 1] == []
    # Countries and areas per region as M49 lists them, with Taiwan beside its neighbours.
    assert Counter(row["sub_region"] for row in table) == {
        "Northern Africa": 7,
        "Eastern Africa": 22,
        "Middle Africa": 9,
        "Southern Africa": 5,
        "Western Africa": 17,
        "Caribbean": 28,
        "Central America": 8,
        "South America": 16,
        "Northern America": 5,
        "Central Asia": 5,
        "Eastern Asia": 8,
        "South-eastern Asia": 11,
        "Southern Asia": 9,
        "Western Asia": 18,
        "Eastern Europe": 10,
        "Northern Europe": 16,
        "Southern Europe": 16,
        "Western Europe": 9,
        "Australia and New Zealand": 6,
        "Melanesia": 5,
        "Micronesia": 8,
        "Polynesia": 10,
        "": 1,
    }


def test_every_country_of_the_streaming_catalogues_is_known_but_those_that_are_no_more(
    real_data: Path,
) -> None:
    listed = pl.concat(
        pl.read_csv(path, columns=["country"])
        for path in sorted((real_data / "svod-catalogues").glob("*.csv.gz"))
    )
    names = listed["country"].drop_nulls().str.split(",").explode().str.strip_chars().unique().sort()
    names = names.filter(names != "")
    unknown = names.filter(pl.select(country_code(pl.lit(names))).to_series().is_null())
    assert len(names) > 100
    assert unknown.to_list() == ["East Germany", "Kosovo", "Soviet Union", "West Germany"]
