"""Rules → bitmaps over the rows of one catalogue."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

import numpy as np
from jaxtyping import Int64, UInt8

from retrieval.catalogue import Catalogue
from retrieval.eligibility import bitmaps
from retrieval.eligibility.cache import BitmapCache
from retrieval.eligibility.columns import UNKNOWN_AGE, Columns, Once
from retrieval.eligibility.inverted import InvertedLists, folded
from retrieval.eligibility.keys import key_of
from retrieval.eligibility.licences import Licences
from retrieval.eligibility.rules import (
    LAST_YEAR,
    All,
    AnyOf,
    AttributeIn,
    Available,
    CountriesOfProductionAny,
    ForKids,
    GenresAll,
    GenresAny,
    ItemIn,
    LanguageIn,
    MaturityAtMost,
    Not,
    PeopleAny,
    ReleaseYearBetween,
    Rule,
    check_rule,
)
from retrieval.index.allowed import Allowed
from towers.data.vocabulary import OOV
from towers.errors import QueryError
from towers.settings import bounded, check_ranges

_EVERY_TITLE = All(())


@dataclass(frozen=True, slots=True)
class EligibilitySettings:
    """max_cache_bytes: of compiled bitmaps, which take an eighth of a byte a title each."""

    max_cache_bytes: int = bounded(128 << 20, ge=0)


class Eligibility:
    """Compiles rules over the N titles of a catalogue, for as long as its release is served.

    A column is read when the first rule asks for it; later ones find lists of rows by value. Bitmaps of
    rules, and of the rules inside of them, are kept within settings.max_cache_bytes, those of equal rules
    once (`keys.key_of`). Safe for any number of concurrent readers; bitmaps are shared, and read-only.

    Memory, beside the table and the cache: of a column in use 4 bytes an entry, 16 and its text a distinct
    value; 20 to 36 bytes a licence; 1 byte a title for certificates, 2 for years.
    """

    def __init__(self, catalogue: Catalogue, settings: EligibilitySettings | None = None) -> None:
        settings = settings or EligibilitySettings()
        check_ranges(settings, "eligibility")
        self._vocabulary = catalogue.vocabulary
        self._num_rows = catalogue.num_rows
        self._there = bitmaps.from_rows(catalogue.rows, catalogue.num_rows)
        self._columns = Columns(catalogue.table)
        self._cache = BitmapCache(settings.max_cache_bytes)

    @property
    def num_rows(self) -> int:
        """N; rows without a title among them, which pass no rule."""
        return self._num_rows

    @property
    def licences(self) -> Licences:
        """Those of the titles, read when they are first asked for."""
        return self._columns.licences()

    def bitmap(self, rule: Rule | None) -> UInt8[np.ndarray, " W"]:
        """The titles that pass a rule (see `bitmaps` for the format); all titles where it is None."""
        rule = _EVERY_TITLE if rule is None else rule
        check_rule(rule)
        return self._bitmap(rule, key_of(rule, self._columns.licences))

    def bitmaps(
        self, rules: Sequence[Rule | None]
    ) -> tuple[UInt8[np.ndarray, "B W"], Int64[np.ndarray, " Q"]]:
        """The bitmaps of Q rules, each distinct one once, and which of them each rule has.

        The B bitmaps lie side by side in memory, whatever the bound of the cache: B × W bytes.
        """
        for rule in rules:
            if rule is not None:
                check_rule(rule)
        distinct: dict[str, int] = {}
        place_of: dict[Rule | None, int] = {}
        compiled = []
        for rule in dict.fromkeys(rules):
            key = key_of(rule or _EVERY_TITLE, self._columns.licences)
            if key not in distinct:
                distinct[key] = len(distinct)
                compiled.append(self._bitmap(rule or _EVERY_TITLE, key))
            place_of[rule] = distinct[key]
        shape = (len(compiled), bitmaps.num_bytes(self._num_rows))
        return np.array(compiled, np.uint8).reshape(shape), np.array(
            [place_of[rule] for rule in rules], np.int64
        )

    def among(self, allowed: Allowed, rules: Sequence[Rule | None]) -> Allowed:
        """What each of Q queries is allowed, of what passes its rule; the same where there are no rules.

        QueryError where there are some, and not Q.
        """
        if all(rule is None for rule in rules):
            return allowed
        if len(rules) != len(allowed):
            raise QueryError(f"rules: {len(rules)} for {len(allowed)} queries; expected one each, or None")
        return allowed.among(*self.bitmaps(rules))

    def count(self, rule: Rule | None) -> int:
        """How many titles pass a rule."""
        return bitmaps.count(self.bitmap(rule))

    def _bitmap(self, rule: Rule, key: str) -> np.ndarray:
        bitmap = self._cache.get(key)
        if bitmap is None:
            bitmap = self._compiled(rule) & self._there
            bitmap.setflags(write=False)
            self._cache.put(key, bitmap)
        return bitmap

    def _compiled(self, rule: Rule) -> np.ndarray:
        columns = self._columns
        match rule:
            case All(rules):
                return reduce(and_, map(self.bitmap, rules), self._there)
            case AnyOf(rules):
                return reduce(or_, map(self.bitmap, rules), self._none())
            case Not(inner):
                return bitmaps.complement(self.bitmap(inner), self._num_rows)
            case Available(country, time_seconds):
                return bitmaps.from_mask(columns.licences().available(country, time_seconds))
            case MaturityAtMost(age, allow_unknown):
                minimum = columns.minimum_age()
                passes = minimum <= age
                return bitmaps.from_mask(passes | (minimum == UNKNOWN_AGE) if allow_unknown else passes)
            case ForKids(age):
                return self.bitmap(MaturityAtMost(age))
            case ReleaseYearBetween(first, last):
                year = columns.release_year()
                low, high = 0 if first is None else first, LAST_YEAR if last is None else last
                return bitmaps.from_mask((low <= year) & (year <= high))
            case LanguageIn(languages):
                return self._having(columns.language, languages)
            case GenresAny(genres):
                return self._having(columns.genres, genres)
            case GenresAll(genres):
                return self.bitmap(All(tuple(GenresAny((genre,)) for genre in genres)))
            case PeopleAny(people):
                return self._having(columns.people, people)
            case CountriesOfProductionAny(countries):
                return self._having(columns.countries, countries)
            case ItemIn(item_ids):
                row = self._vocabulary.rows(item_ids)
                return bitmaps.from_rows(row[row != OOV], self._num_rows)
            case AttributeIn(name, values):
                column = columns.attributes().get(folded(name))
                return self._having(column, values) if column else self._none()

    def _having(self, column: Once[InvertedLists], names: Iterable[str]) -> np.ndarray:
        return bitmaps.from_rows(column().rows(names), self._num_rows)

    def _none(self) -> np.ndarray:
        return np.zeros(bitmaps.num_bytes(self._num_rows), np.uint8)
