"""Words that say years: "from 1994", "before 2000", "between 1990 and 1995", "the late 90s", "1994"."""

import re

from towers.data.schema import FIRST_YEAR, LAST_YEAR

RANGE = re.compile(r"\b(\d{4})\s*[-–—]\s*(\d{4})\b")
"""Two years with a dash between them, which words do not keep."""

_DECADES = {
    "twenties": 1920, "thirties": 1930, "forties": 1940, "fifties": 1950, "sixties": 1960, "seventies": 1970,
    "eighties": 1980, "nineties": 1990, "noughties": 2000,
}  # fmt: skip
_DECADE = re.compile(r"((?:18|19|20)\d|[03-9])0s")
_BEFORE = frozenset(("before", "pre"))
_UNTIL = frozenset(("until", "till", "to"))
_AFTER = frozenset(("after", "post"))
_SINCE = frozenset(("since",))
_IN = frozenset(("from", "in", "year"))
YEAR_OPENERS = frozenset(("between", "early", "late", *_DECADES)) | _BEFORE | _UNTIL | _AFTER | _SINCE | _IN
"""The words that years begin with, where they do not with a digit."""

Years = tuple[int, int | None, int | None, bool]
"""How many words say it; the first and the last year, None where open; whether they say it outright."""


def years_at(words: tuple[str, ...], start: int) -> Years | None:
    """The years that the words from one on say; None where they say none, or the last before the first."""
    word = words[start]
    second = words[start + 1] if start + 1 < len(words) else ""
    if found := _between(words, start):
        return found
    if decade := _decade(word):
        return 1, decade, decade + 9, True
    if word in ("early", "late") and (decade := _decade(second)):
        first = decade + (5 if word == "late" else 0)
        return 2, first, first + 4, True
    year = _year(second)
    if year is not None:
        if word in _BEFORE:
            return 2, None, year - 1, True
        if word in _UNTIL:
            return 2, None, year, True
        if word in _AFTER:
            return 2, year + 1, None, True
        if word in _SINCE:
            return 2, year, None, True
        if word in _IN:
            return 2, year, year, True
    year = _year(word)
    return None if year is None else (1, year, year, False)


def _between(words: tuple[str, ...], start: int) -> Years | None:
    """What is said of two years: "between 1990 and 1995", "from 1990 to 1995", "1990 to 1995"."""
    opened = words[start] in ("between", "from")
    said = words[start + opened : start + opened + 3]
    if len(said) < 3 or said[1] not in ("and", "to", "until", "till") or (said[1] == "and" and not opened):
        return None
    first, last = _year(said[0]), _year(said[2])
    if first is None or last is None or first > last:
        return None
    return 3 + opened, first, last, True


def _year(word: str) -> int | None:
    if len(word) == 4 and word.isascii() and word.isdigit() and FIRST_YEAR <= int(word) <= LAST_YEAR:
        return int(word)
    return None


def _decade(word: str) -> int | None:
    """The first year of a decade. "20s" and "10s" may be of either century, and say nothing."""
    if word in _DECADES:
        return _DECADES[word]
    found = _DECADE.fullmatch(word)
    if not found:
        return None
    digits = found[1]
    if len(digits) == 3:
        return int(digits) * 10
    return 2000 if digits == "0" else 1900 + 10 * int(digits)
