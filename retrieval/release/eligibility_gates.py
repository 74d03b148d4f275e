"""Whether a candidate knows what may be shown: by the rules' definition, by the log, by the live release."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from retrieval.eligibility import bitmaps
from retrieval.eligibility.by_title import Title, passes, passing
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.licences import Licences
from retrieval.eligibility.rules import (
    All,
    Available,
    CountriesOfProductionAny,
    GenresAll,
    GenresAny,
    LanguageIn,
    MaturityAtMost,
    Not,
    PeopleAny,
    ReleaseYearBetween,
    Rule,
)
from retrieval.profiles import ProfileHistories
from retrieval.release.answered import newest_events
from towers.data.dataset import Dataset
from towers.data.order import spread
from towers.data.rows import taken

_NUM_TITLES, _NUM_MODELS = 256, 24
_NUM_EVENTS = 4000
_MIN_EVENTS = 100


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be shown of the N titles of a release.

    licences: of some table. row: int64 (N,), where each title stands in it. profiles: those of the release.
    """

    licences: Licences
    row: Int64[np.ndarray, " N"]
    profiles: ProfileHistories


def eligibility_parity(eligibility: Eligibility, items: pa.Table, now: int) -> int:
    """Titles that a compiled rule of the release lets pass and its definition does not, or the other way.

    items: what the source says of the titles that the rules are compiled of, in their order. Rules are made
    of the facts of some of them, at moments about now, Unix seconds, and judged on some others.
    """
    num_titles = eligibility.count(None)
    if num_titles != items.num_rows:
        return int(abs(num_titles - items.num_rows))
    place = spread(np.arange(items.num_rows), _NUM_TITLES)
    titles = _titles(items, place)
    num_wrong = 0
    for rule in dict.fromkeys(_rules(titles[:: max(1, len(titles) // _NUM_MODELS)], now)):
        compiled = _passing(eligibility, rule, place)
        num_wrong += int((np.array(passing(titles, rule)) != compiled).sum())
    return num_wrong


def share_watched_unlicensed(dataset: Dataset) -> float | None:
    """The share of the newest events whose title has no licence in the profile's country at that moment.

    Viewers travel, so a few are to be expected; many say that the table of licences is not that of the time.
    Of titles with licences that say anything, and of profiles of a known country; None of too few.
    """
    history = dataset.history
    places = newest_events(history, _NUM_EVENTS)
    profile = np.searchsorted(history.offset, places, side="right") - 1
    distinct, place = np.unique(np.asarray(history.item_row)[places], return_inverse=True)
    licences = pa.table({"licences": dataset.titles.licences()})
    titles = _titles(licences, distinct)
    country, seconds = dataset.country[profile].tolist(), np.asarray(history.time_seconds)[places].tolist()
    num_events = num_unlicensed = 0
    for line, which in enumerate(place.tolist()):
        if titles[which]["licences"] is None or not country[line]:
            continue
        num_events += 1
        num_unlicensed += not passes(titles[which], Available(country[line], seconds[line]))
    return num_unlicensed / num_events if num_events >= _MIN_EVENTS else None


def share_available(shown: Shown) -> float | None:
    """The share of titles with a licence at the newest event, the mean over the profiles' countries."""
    codes, num_profiles = np.unique(shown.profiles.country, return_counts=True)
    now = shown.profiles.as_of_seconds
    if not len(codes) or not len(shown.row):
        return None
    shares = [shown.licences.available(code, now)[shown.row].mean() for code in codes.tolist()]
    return float(np.average(shares, weights=num_profiles))


def share_changed(own: Shown, live: Shown, num_titles: int | None = None) -> float | None:
    """The share of titles whose licence at the live release's newest event is not what that one says.

    Of titles that both have, line by line the same ones; num_titles: how many there are, where some are left
    out of which both are known to say the same. The mean over the countries of the live profiles, by their
    numbers.
    """
    codes, num_profiles = np.unique(live.profiles.country, return_counts=True)
    num_titles = len(own.row) if num_titles is None else num_titles
    if not len(codes) or not num_titles:
        return None
    if not len(own.row):
        return 0.0
    now = live.profiles.as_of_seconds
    changed = []
    for code in codes.tolist():
        before, after = (each.licences.available(code, now)[each.row] for each in (live, own))
        changed.append(int((before != after).sum()) / num_titles)
    return float(np.average(changed, weights=num_profiles))


def _rules(models: Sequence[Title], now: int) -> Iterator[Rule]:
    """Rules that let some titles pass, and not others."""
    for title in models:
        licences = [each for each in title["licences"] or () if each is not None]
        for each in licences[:4]:
            edges = [int(edge.timestamp()) for edge in (each["start"], each["end"]) if edge is not None]
            for moment in (now, *(edge + beside for edge in edges for beside in (-1, 0))):
                yield Available(each["country"] or "", max(0, moment))
        if title["release_year"] is not None:
            yield ReleaseYearBetween(last=title["release_year"])
        if title["language"] is not None:
            yield LanguageIn((title["language"],))
        if genres := _names(title, "genres", "sub_genres"):
            yield GenresAny(genres[:1])
            yield All((Not(GenresAny(genres[:1])), MaturityAtMost(12)))
            yield GenresAll(genres)
        if people := _names(title, "cast", "directors"):
            yield PeopleAny(people)
        if countries := _names(title, "countries"):
            yield CountriesOfProductionAny(countries)
    for age in (0, 7, 12, 16):
        yield MaturityAtMost(age)
        yield MaturityAtMost(age, allow_unknown=True)


def _names(title: Title, *columns: str) -> tuple[str, ...]:
    return tuple(name for column in columns for name in title[column] or () if name is not None)


def _passing(eligibility: Eligibility, rule: Rule, rows: np.ndarray) -> np.ndarray:
    """Which of these rows pass a compiled rule."""
    passing: np.ndarray
    (passing,) = bitmaps.contains(eligibility.bitmap(rule)[None], np.zeros(1, np.int64), rows[None])
    return passing


def _titles(items: pa.Table, rows: np.ndarray) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = taken(items, rows).to_pylist()
    return found
