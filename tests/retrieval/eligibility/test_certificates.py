"""The table of certificates: each as its board describes it, and what the table itself must keep."""

import csv
from pathlib import Path

import pytest

import retrieval.eligibility.certificates as module
from retrieval.eligibility.certificates import minimum_age


@pytest.mark.parametrize(
    ("certificate", "age"),
    [
        ("G", 0),
        ("PG", 8),
        ("PG-13", 13),
        ("R", 17),
        ("NC-17", 18),
        ("TV-Y", 0),
        ("TV-Y7", 7),
        ("TV-Y7-FV", 7),
        ("TV-G", 0),
        ("TV-PG", 8),
        ("TV-14", 14),
        ("TV-MA", 17),
        ("12A", 12),
        ("15", 15),
        ("FSK 16", 16),
        ("Tous publics", 0),
        ("-12", 12),
        ("UA", 12),
        ("U/A 16+", 16),
        ("A", 18),
        ("L", 0),
        ("A14", 14),
        ("M", 15),
        ("MA15+", 15),
        ("R18+", 18),
        ("0+", 0),
        ("6+", 6),
        ("7+", 7),
        ("12+", 12),
        ("13+", 13),
        ("16+", 16),
        ("18+", 18),
        ("21", 21),
        ("ALL", 0),
        ("AGES_16_", 16),
    ],
)
def test_a_certificate_has_the_age_of_its_board(certificate: str, age: int) -> None:
    assert minimum_age(certificate) == age


@pytest.mark.parametrize("certificate", ["tv-ma", " TV-MA ", "TV - MA", "ＴＶ-ＭＡ", "Tv-mA\n"])
def test_case_blanks_and_width_do_not_count(certificate: str) -> None:
    assert minimum_age(certificate) == 17


@pytest.mark.parametrize(
    "certificate",
    ["", "NR", "UR", "Not rated", "UNRATED", "74 min", "22", "-1", "16++", "+16", "٧"],
)
def test_what_says_no_age_is_unknown(certificate: str) -> None:
    assert minimum_age(certificate) is None


def test_a_spelling_of_several_systems_has_the_strictest_age() -> None:
    with Path(module.__file__).with_name("certificates.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    of_u = {row["system"]: int(row["age"]) for row in rows if row["certificate"] == "U"}
    assert of_u == {"GB BBFC": 4, "FR CNC": 0, "IN CBFC": 0}
    assert minimum_age("U") == 4
    for row in rows:
        age = minimum_age(row["certificate"])
        assert age is not None
        assert age >= int(row["age"])
