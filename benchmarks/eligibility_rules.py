"""Random rule sets over a catalogue, and what passes them by a second way: plain Python and numpy.

Nothing here goes through `retrieval.eligibility`'s compiler: names are gathered title by title into
dictionaries, and masks are arrays of booleans.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from retrieval.eligibility.rules import (
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
)
from towers.data.simulator.log import with_attribute

STUDIO, NUM_STUDIOS = "studio", 40
_NEVER = np.iinfo(np.int64).max


def with_studios(items: pa.Table, seed: int = 0) -> pa.Table:
    """The titles with a custom column: nine in ten have a studio, the first of 40 a fifth of all."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(4, 4 + NUM_STUDIOS)
    studio = rng.choice(NUM_STUDIOS, items.num_rows, p=share / share.sum())
    missing = rng.random(items.num_rows) < 0.1
    names = pa.array([f"Studio {each}" for each in studio.tolist()], pa.string())
    return with_attribute(items, STUDIO, pc.if_else(pa.array(missing), None, names))


class RawTitles:
    """N titles as the items table says them, certificates as the simulator writes them ("12+")."""

    def __init__(self, items: pa.Table) -> None:
        self.num_items = items.num_rows
        self.ids: list[str] = items["item_id"].to_pylist()
        self._row_of = {item_id: row for row, item_id in enumerate(self.ids)}
        genres = zip(items["genres"].to_pylist(), items["sub_genres"].to_pylist(), strict=True)
        self.genres = _rows_of([*(one or ()), *(other or ())] for one, other in genres)
        people = zip(items["cast"].to_pylist(), items["directors"].to_pylist(), strict=True)
        self.people = _rows_of([*(one or ()), *(other or ())] for one, other in people)
        self.countries = _rows_of(items["countries"].to_pylist())
        self.languages = _rows_of([one] for one in items["language"].to_pylist())
        self.studios = _rows_of(
            [one["value"] for one in each or () if one["name"] == STUDIO]
            for each in items["attributes"].to_pylist()
        )
        self._age = np.array(
            [-1 if one is None else int(one.rstrip("+")) for one in items["maturity"].to_pylist()]
        )
        self._year = np.array([-1 if year is None else year for year in items["release_year"].to_pylist()])
        column = items["licences"].combine_chunks()
        self._unsaid = column.is_null().to_numpy(zero_copy_only=False)
        self._licence_row = pc.list_parent_indices(column).to_numpy()
        entry = pc.list_flatten(column)
        self._licence_country = np.array(
            ["*" if one is None else one for one in entry.field("country").to_pylist()]
        )
        self.licence_start = _milliseconds(entry.field("start"), -_NEVER)
        self.licence_end = _milliseconds(entry.field("end"), _NEVER)
        self.territories = sorted(set(self._licence_country.tolist()) - {"*"})
        self._licences_of = {
            code: np.flatnonzero(np.isin(self._licence_country, ["*", code]))
            for code in [*self.territories, ""]
        }

    def passes(self, rule: Rule) -> Bool[np.ndarray, " N"]:
        """Whether each title passes the rule, by the rule's definition."""
        match rule:
            case All(rules):
                return self._joined(rules, np.logical_and, empty=True)
            case AnyOf(rules):
                return self._joined(rules, np.logical_or, empty=False)
            case Not(inner):
                return ~self.passes(inner)
            case Available(country, time_seconds):
                return self._available(country, time_seconds)
            case MaturityAtMost(age, allow_unknown):
                known = self._age >= 0
                return (known & (self._age <= age)) | (~known & allow_unknown)
            case ForKids(age):
                return (self._age >= 0) & (self._age <= age)
            case ReleaseYearBetween(first, last):
                low, high = 0 if first is None else first, 10_000 if last is None else last
                return (self._year >= low) & (self._year <= high)
            case LanguageIn(names):
                return self._named(self.languages, names)
            case GenresAny(names):
                return self._named(self.genres, names)
            case GenresAll(names):
                return self.passes(All(tuple(GenresAny((name,)) for name in names)))
            case PeopleAny(names):
                return self._named(self.people, names)
            case CountriesOfProductionAny(names):
                return self._named(self.countries, names)
            case AttributeIn(name, values):
                of_name = self.studios if name.lower() == STUDIO else {}
                return self._named(of_name, values)
            case ItemIn(item_ids):
                return self._at([self._row_of[one] for one in item_ids if one in self._row_of])

    def _joined(self, rules: Sequence[Rule], join: Callable[..., np.ndarray], *, empty: bool) -> np.ndarray:
        mask = np.full(self.num_items, empty)
        for rule in rules:
            mask = join(mask, self.passes(rule))
        return mask

    def _named(self, rows_of: dict[str, np.ndarray], names: Iterable[str]) -> np.ndarray:
        mask = np.zeros(self.num_items, bool)
        for name in names:
            mask[rows_of.get(name.lower(), [])] = True
        return mask

    def _at(self, rows: list[int]) -> np.ndarray:
        mask = np.zeros(self.num_items, bool)
        mask[rows] = True
        return mask

    def _available(self, country: str, time_seconds: int) -> np.ndarray:
        code, now = country.upper(), 1000 * time_seconds
        entry = self._licences_of.get(code, self._licences_of[""])
        open_now = entry[(self.licence_start[entry] <= now) & (now < self.licence_end[entry])]
        mask: np.ndarray = self._unsaid.copy()
        mask[self._licence_row[open_now]] = True
        return mask


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What a request may be shown: a rule, and rows that it excludes beside what was watched, ascending."""

    rule: Rule
    excluded: Int64[np.ndarray, " n"]


class RandomRules:
    """Rule sets by chance over the names, years and moments of these titles; some name what nobody has."""

    def __init__(self, titles: RawTitles, seed: int) -> None:
        self._titles = titles
        self._rng = np.random.default_rng(seed)
        self._names = {
            kind: list(rows_of)
            for kind, rows_of in (
                (GenresAny, titles.genres),
                (PeopleAny, titles.people),
                (LanguageIn, titles.languages),
                (CountriesOfProductionAny, titles.countries),
            )
        }
        edges = np.concatenate([titles.licence_start, titles.licence_end])
        edges = np.unique(edges[np.abs(edges) < _NEVER]) // 1000
        self._moments = edges if len(edges) else np.array([1_700_000_000])

    def draw(self) -> RuleSet:
        """One rule set: most are `All` of one to three parts, as requests are."""
        rng = self._rng
        rule = self._rule(depth=2)
        if rng.random() < 0.8:
            rule = All(tuple(self._rule(depth=2) for _ in range(rng.integers(1, 4))))
        excluded = np.unique(rng.integers(self._titles.num_items, size=rng.integers(0, 60)))
        return RuleSet(rule, excluded.astype(np.int64))

    def _rule(self, depth: int) -> Rule:
        chance = self._rng.random() if depth else 1.0
        if chance < 0.15:
            return Not(self._rule(depth - 1))
        if chance < 0.3:
            parts = tuple(self._rule(depth - 1) for _ in range(self._rng.integers(0, 4)))
            return AnyOf(parts) if chance < 0.24 else All(parts)
        return self._atom()

    def _atom(self) -> Rule:
        rng = self._rng
        match int(rng.integers(10)):
            case 0 | 1:
                return Available(self._territory(), int(rng.choice(self._moments) + rng.integers(-1, 2)))
            case 2:
                return MaturityAtMost(int(rng.integers(0, 20)), allow_unknown=bool(rng.random() < 0.5))
            case 3:
                return ForKids(int(rng.integers(0, 13)))
            case 4:
                first, last = np.sort(rng.integers(1955, 2026, size=2)).tolist()
                return [
                    ReleaseYearBetween(first, last),
                    ReleaseYearBetween(first),
                    ReleaseYearBetween(None, last),
                ][rng.integers(3)]
            case 5:
                return GenresAll(self._some(self._names[GenresAny], 2))
            case 6:
                studios = [f"studio {each}" for each in range(NUM_STUDIOS + 1)]
                return AttributeIn(STUDIO.upper() if rng.random() < 0.1 else STUDIO, self._some(studios, 4))
            case 7:
                rows = rng.integers(self._titles.num_items, size=int(10 ** rng.uniform(0, 3)))
                return ItemIn((*(self._titles.ids[row] for row in rows.tolist()), "no such id"))
            case _:
                kinds = (GenresAny, PeopleAny, LanguageIn, CountriesOfProductionAny)
                kind = kinds[rng.integers(len(kinds))]
                return kind(self._some(self._names[kind], 20 if kind is PeopleAny else 3))

    def _territory(self) -> str:
        known = [*self._titles.territories, "", "AQ"]
        return str(self._rng.choice(known))

    def _some(self, names: list[str], most: int) -> tuple[str, ...]:
        chosen = [
            names[place] for place in self._rng.integers(len(names), size=self._rng.integers(1, most + 1))
        ]
        return tuple(name.upper() if self._rng.random() < 0.2 else name for name in [*chosen, "nobody"])


def _rows_of(names: Iterable[Iterable[str | None] | None]) -> dict[str, np.ndarray]:
    """The rows of each name, in lower case."""
    rows: dict[str, list[int]] = {}
    for row, each in enumerate(names):
        for name in each or ():
            if name is not None:
                rows.setdefault(name.lower(), []).append(row)
    return {name: np.array(each) for name, each in rows.items()}


def _milliseconds(times: pa.Array, where_null: int) -> np.ndarray:
    return np.array(
        [where_null if one is None else one for one in times.cast(pa.int64()).to_pylist()], np.int64
    )
