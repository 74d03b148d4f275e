"""The countries of ISO 3166-1, for those who do without a table of their names."""

import csv
from functools import cache
from pathlib import Path

COUNTRIES = Path(__file__).with_name("countries.csv")


@cache
def country_codes() -> frozenset[str]:
    """The alpha-2 codes, in capitals."""
    with COUNTRIES.open(encoding="utf-8", newline="") as lines:
        return frozenset(row["code"] for row in csv.DictReader(lines))
