"""Certificates as sources spell them → the age from which a title may be watched.

certificates.csv: system, certificate, age in years; from what the boards say of their own certificates (MPA
and TV Parental Guidelines, BBFC, FSK, CNC, CBFC, ClassInd, Australian Classification), and from spellings in
the catalogues of services. A number from 0 to 21, alone or with a plus ("16", "7+"), is its own age.

Judgement calls:
- What may be watched below an age in company only has that age: R 17, 12A 12, UA 12.
- "PG" and "TV-PG" ask for guidance without an age; BBFC alone names one, 8, and all are read as 8. So is that
  of Australia, which advises guidance under 15 without calling a title unsuitable.
- A spelling of several systems has the strictest of their ages: "U" is 4 as in BBFC's words, not 0.
- "NR", "UR", "Not rated" and whatever else is not in the table say nothing: the age is unknown.
"""

import csv
import re
import unicodedata
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).with_name("certificates.csv")
_AGE = re.compile(r"(1?[0-9]|2[01])\+?")


def minimum_age(certificate: str) -> int | None:
    """The age in years from which a certificate lets watch; None where the spelling is not known.

    Case and blanks do not count.
    """
    key = _key(certificate)
    if number := _AGE.fullmatch(key):
        return int(number[1])
    return _ages().get(key)


def _key(certificate: str) -> str:
    return "".join(unicodedata.normalize("NFKC", certificate).casefold().split())


@cache
def _ages() -> dict[str, int]:
    """The strictest age by the key of a certificate."""
    ages: dict[str, int] = {}
    with _TABLE.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            key = _key(line["certificate"])
            ages[key] = max(int(line["age"]), ages.get(key, 0))
    return ages
