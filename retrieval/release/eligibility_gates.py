"""Whether a candidate knows what may be shown: by the rules' definition, by the log, by the live release."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from retrieval.eligibility import bitmaps
from retrieval.eligibility.by_title import Title, passes
from retrieval.eligibility.compile import Eligibility
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
from retrieval.release.answered import newest_events
from retrieval.release.read import Release
from towers.data.dataset import Dataset
from towers.data.vocabulary import OOV

_NUM_TITLES, _NUM_MODELS = 256, 24
_NUM_EVENTS = 4000
_MIN_EVENTS = 100


def eligibility_parity(
    eligibility: Eligibility, dataset: Dataset, row: Int64[np.ndarray, " n"] | None = None
) -> int:
    """Titles that a compiled rule of the release lets pass and its definition does not, or the other way.

    Rules are made of the facts of some titles of the source's table, at moments about the newest event, and
    judged on some others. row: of each title in the release; that of the table where None.
    """
    num_titles, num_expected = eligibility.count(None), len(dataset.catalogue)
    if num_titles != num_expected:
        return abs(num_titles - num_expected)
    place = _spread(num_expected, _NUM_TITLES)
    rows = place if row is None else row[place]
    titles = _titles(dataset.items, place)
    now = int(dataset.history.time_seconds.max(initial=0))
    num_wrong = 0
    for rule in dict.fromkeys(_rules(titles[:: max(1, len(titles) // _NUM_MODELS)], now)):
        compiled = _passing(eligibility, rule, rows)
        num_wrong += sum(
            passes(title, rule) != found for title, found in zip(titles, compiled.tolist(), strict=True)
        )
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
    titles = _titles(dataset.items, distinct)
    country, seconds = dataset.country[profile].tolist(), np.asarray(history.time_seconds)[places].tolist()
    num_events = num_unlicensed = 0
    for line, which in enumerate(place.tolist()):
        if titles[which]["licences"] is None or not country[line]:
            continue
        num_events += 1
        num_unlicensed += not passes(titles[which], Available(country[line], seconds[line]))
    return num_unlicensed / num_events if num_events >= _MIN_EVENTS else None


def share_available(eligibility: Eligibility, release: Release) -> float | None:
    """The share of its titles with a licence at its newest event, the mean over its profiles' countries."""
    codes, num_profiles = np.unique(release.profiles.country, return_counts=True)
    now = release.profiles.as_of_seconds
    if not len(codes) or not len(release.catalogue):
        return None
    rules = [Available(code, now) for code in codes.tolist()]
    shares = [_passing(eligibility, rule, release.catalogue.rows).mean() for rule in rules]
    return float(np.average(shares, weights=num_profiles))


def share_changed(
    eligibility: Eligibility, release: Release, older: Eligibility, live: Release
) -> float | None:
    """The share of titles of both whose licence at the live release's newest event is not what that one says.

    older: of the live release. The mean over the countries of the live profiles, by their numbers.
    """
    codes, num_profiles = np.unique(live.profiles.country, return_counts=True)
    theirs = live.catalogue.vocabulary.rows_in(release.catalogue.vocabulary)
    both = np.flatnonzero(theirs != OOV)
    theirs = theirs[both]
    if not len(codes) or not len(both):
        return None
    now = live.profiles.as_of_seconds
    changed = []
    for code in codes.tolist():
        rule = Available(code, now)
        before, after = _passing(older, rule, both), _passing(eligibility, rule, theirs)
        changed.append(float(np.mean(before != after)))
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


def _spread(num: int, most: int) -> np.ndarray:
    rows: np.ndarray = np.linspace(0, num - 1, min(num, most)).astype(np.int64)
    return rows


def _titles(items: pa.Table, rows: np.ndarray) -> list[dict[str, Any]]:
    taken: list[dict[str, Any]] = items.take(pa.array(rows)).to_pylist()
    return taken
